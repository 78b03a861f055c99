//! Waiting on levels: a look is taken again and again until it sees what was asked for or the deadline is over.
//!
//! This room works with real containers, so its time is real. Nothing here waits for an amount of time; every wait
//! names what it waits for, and a deadline that passes says what the last look saw.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

use crate::Error;

/// What a look saw: the level, or what is still missing.
#[derive(Debug)]
pub enum Look<T> {
    /// The level is reached.
    Reached(T),
    /// Not yet; the text says what was seen instead.
    NotYet(String),
}

/// Looks until the level is reached, at most `within`.
///
/// # Errors
/// [`Error::Deadline`] with what the last look saw; an error of the look itself ends the wait at once.
/// # Cancellation
/// Dropping the future stops looking; nothing else happens.
pub async fn wait<T, F>(what: &str, within: Duration, mut look: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<Look<T>, Error>>,
{
    let end = Instant::now() + within;
    let mut pause = Duration::from_millis(50);
    loop {
        let last = match look().await? {
            Look::Reached(value) => return Ok(value),
            Look::NotYet(last) => last,
        };
        if Instant::now() + pause >= end {
            return Err(Error::Deadline { what: what.to_owned(), within, last });
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(500));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_level_that_is_reached_ends_the_wait() {
        let mut looks = 0;
        let got = wait("three looks", Duration::from_secs(5), || {
            looks += 1;
            let seen = looks;
            async move { Ok(if seen == 3 { Look::Reached(seen) } else { Look::NotYet(format!("{seen}")) }) }
        })
        .await;
        assert_eq!(got.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_names_what_was_seen_last() {
        let got: Result<(), _> =
            wait("rain", Duration::from_secs(5), || async { Ok(Look::NotYet("a blue sky".to_owned())) })
                .await;
        assert_eq!(got.unwrap_err().to_string(), "waited 5 s for rain, and the last look said: a blue sky");
    }
}
