//! How a volume is mounted: who acts, as whom, and what is asked and charged on the way.
use fault::Register;

use super::Credentials;
use crate::cost::Meter;

/// How a volume is mounted.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// Who acts, as points and records name it.
    pub actor: String,
    /// As whom.
    pub credentials: Credentials,
    /// Refuse writes with EROFS.
    pub read_only: bool,
    /// Where faults are asked for.
    pub register: Register,
    /// Where work is charged.
    pub meter: Option<Meter>,
}

impl MountOptions {
    /// A writable mount of root, without faults and without cost.
    pub fn new(actor: impl Into<String>) -> Self {
        Self {
            actor: actor.into(),
            credentials: Credentials::root(),
            read_only: false,
            register: Register::default(),
            meter: None,
        }
    }
    /// Acts as somebody.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }
    /// Refuses writes.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }
    /// Asks this register for faults.
    #[must_use]
    pub fn register(mut self, register: Register) -> Self {
        self.register = register;
        self
    }
    /// Charges work to this meter.
    #[must_use]
    pub fn meter(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }
}
