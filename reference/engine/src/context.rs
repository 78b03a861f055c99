//! Time and randomness, as the engine receives them.
//!
//! The engine never reads a clock and never draws a number by itself: both come in here. It promises
//! that the same context, bytes and calls give the same repository, byte for byte.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use jiff::{Timestamp, tz::TimeZone};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// A clock: each call tells the present time.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A source of random bytes for keys, nonces and names.
#[derive(Clone)]
pub struct Entropy(Arc<Mutex<Fill>>);

type Fill = dyn FnMut(&mut [u8]) + Send;

impl Entropy {
    /// Wraps a function that fills a buffer.
    pub fn new(fill: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(fill)))
    }
    /// A reproducible stream (ChaCha8) for simulations. Never use it for real repositories.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let mut stream = ChaCha8Rng::from_seed(seed);
        Self::new(move |buffer| stream.fill_bytes(buffer))
    }
    /// Fills the buffer.
    pub fn fill(&self, buffer: &mut [u8]) {
        let mut fill = self.0.lock().expect("no holder of the entropy lock panics");
        fill(buffer);
    }
    /// Returns `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut buffer = [0; N];
        self.fill(&mut buffer);
        buffer
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

/// Who is using the repository: recorded in sessions, compared with the maintenance owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    /// Kopia's user name.
    pub username: String,
    /// Kopia's host name.
    pub hostname: String,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.username, self.hostname)
    }
}

/// Everything outside bytes that the engine depends on.
#[derive(Clone)]
pub struct Context {
    /// The clock.
    pub now: Now,
    /// Randomness.
    pub entropy: Entropy,
    /// Who we are.
    pub client: Client,
    /// The zone in which weeks and calendar cut-offs of retention are computed.
    pub zone: TimeZone,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("client", &self.client).finish_non_exhaustive()
    }
}
