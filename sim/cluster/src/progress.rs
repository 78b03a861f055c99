//! How far something long has come, told to whoever wants to show it.
//!
//! The room itself prints nothing. Steps are numbered; a step that was found in the cache says so.

use std::{fmt, sync::Arc, time::Duration};

/// One piece of news about a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, in words.
    pub what: String,
    /// Number of the step, from 1.
    pub n: usize,
    /// How many steps there are; 0 where that is not known.
    pub of: usize,
    /// What happened to it.
    pub news: News,
}

/// What happened to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It begins.
    Begun,
    /// It still runs after this time; the text is the latest line of its output.
    Running(Duration, String),
    /// It is done, and took this long.
    Done(Duration),
    /// Its result was there already.
    Cached,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of > 0 {
            write!(f, "[{:>2}/{}] ", self.n, self.of)?;
        }
        match &self.news {
            News::Begun => write!(f, "{} …", self.what),
            News::Running(time, line) => write!(f, "{}, {} s: {line}", self.what, time.as_secs()),
            News::Done(time) => write!(f, "{}: {:.1} s", self.what, time.as_secs_f64()),
            News::Cached => write!(f, "{}: there already", self.what),
        }
    }
}

/// Who hears of progress.
#[derive(Clone)]
pub struct Monitor(Arc<dyn Fn(Progress) + Send + Sync>);

impl Monitor {
    /// Calls `hear` with every piece of news.
    pub fn new(hear: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    /// Nobody hears.
    pub fn silent() -> Self {
        Self::new(|_| ())
    }

    /// Prints what began, what ran long and what was done to standard error, a line each.
    pub fn lines() -> Self {
        Self::new(|progress| {
            if progress.news != News::Begun {
                eprintln!("{progress}");
            }
        })
    }

    pub(crate) fn tell(&self, what: &str, n: usize, of: usize, news: News) {
        (self.0)(Progress { what: what.to_owned(), n, of, news });
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Monitor")
    }
}

impl Default for Monitor {
    fn default() -> Self {
        Self::silent()
    }
}
