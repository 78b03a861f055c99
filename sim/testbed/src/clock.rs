//! The bed's clock: an epoch plus what tokio's clock says has passed.
//!
//! In virtual time tokio's clock stands still while anything can run and jumps to the next timer when
//! nothing can; with real time it is the machine's monotonic clock. It promises whole milliseconds in
//! virtual time. It never reads the wall clock: the epoch is an option of the bed.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

/// Tells the bed's time; cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    epoch: Timestamp,
    start: tokio::time::Instant,
    handle: tokio::runtime::Handle,
    skew: SignedDuration,
}

impl Clock {
    /// Starts a clock that shows `epoch` at the runtime's present moment.
    pub fn start(epoch: Timestamp, handle: tokio::runtime::Handle) -> Self {
        let start = {
            let _entered = handle.enter();
            tokio::time::Instant::now()
        };
        Self { epoch, start, handle, skew: SignedDuration::ZERO }
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.elapsed()).unwrap_or(SignedDuration::MAX);
        self.epoch
            .saturating_add(passed)
            .and_then(|time| time.saturating_add(self.skew))
            .unwrap_or(Timestamp::MAX)
    }

    /// How long the bed has been running.
    pub fn elapsed(&self) -> Duration {
        let _entered = self.handle.enter();
        tokio::time::Instant::now().saturating_duration_since(self.start)
    }

    /// The tokio instant at which this clock shows `time`; the present one for a time in the past.
    pub fn instant_of(&self, time: Timestamp) -> tokio::time::Instant {
        let _entered = self.handle.enter();
        let wait = Duration::try_from(time.duration_since(self.now())).unwrap_or(Duration::ZERO);
        tokio::time::Instant::now() + wait
    }

    /// A clock that runs beside this one by `skew`, as a node without NTP has.
    #[must_use]
    pub fn skewed(&self, skew: SignedDuration) -> Self {
        Self { skew: self.skew.saturating_add(skew), ..self.clone() }
    }

    /// The clock as a function, the form in which the product's rooms receive it.
    pub fn as_function(&self) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}
