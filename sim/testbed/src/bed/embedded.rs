//! A bed for somebody else's controller.
//!
//! Whoever has a kube-rs controller hands over a function from client to future, and gets a cluster whose
//! days pass in milliseconds. See `examples/own_controller.rs`.

use jiff::Timestamp;
use json::Value;

use super::{Bed, Options};
use crate::subject::{Assembly, Subject};

/// Entry to the builder.
#[derive(Clone, Copy, Debug)]
pub struct Embedded;

impl Embedded {
    /// A builder with the usual options and no controller.
    pub fn builder() -> Builder {
        let options = Options { subject: Subject::None, ..Options::default() };
        let assembly =
            Assembly { controller: None, mover: crate::subject::honest_mover(), admission: Vec::new() };
        Builder { options, assembly, objects: Vec::new() }
    }
}

/// Collects what an embedded cluster starts with.
pub struct Builder {
    options: Options,
    assembly: Assembly,
    objects: Vec<Value>,
}

impl Builder {
    /// Sets the seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// Sets the time at which the clock starts.
    #[must_use]
    pub fn epoch(mut self, epoch: Timestamp) -> Self {
        self.options.epoch = epoch;
        self
    }

    /// Adds an object that exists before the controller runs: a custom resource definition, mostly.
    #[must_use]
    pub fn object(mut self, object: Value) -> Self {
        self.objects.push(object);
        self
    }

    /// Sets the controller: a function that is given a client and runs until it is dropped. It is called
    /// again when the bed restarts it.
    #[must_use]
    pub fn controller<F>(mut self, controller: impl Fn(kube::Client) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.assembly = Assembly::own(controller);
        self
    }

    /// Starts the cluster.
    pub fn build(self) -> Bed {
        Bed::start_with(self.options, self.assembly, self.objects)
    }
}
