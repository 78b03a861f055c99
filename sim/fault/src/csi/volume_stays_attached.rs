//! Volume stays attached: the node cannot let go of a volume.
//!
//! The world: a watcher that does not time out, a wedged mount, a dead node that held the map. The pod stays
//! `Terminating`, the next one waits for the volume, and deleting the volume fails since it is in use. A sound
//! subject starts no second writer, says what it waits for, and resumes by itself after the lift.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "csi-volume-stays-attached",
    seam: Seam::Csi,
    survivable: true,
    about: "a volume cannot be unmounted from its node, so it stays attached",
    aims_at: "volumes by claim name",
    sound: "no false success, says what it waits for, does not start a second writer, resumes by itself after the lift",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// The RPCs it strikes, by gRPC's name of the method.
    pub operations: Vec<String>,
    /// The gRPC code.
    pub code: String,
    /// The driver's text.
    pub message: String,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            aim: Aim::default(),
            operations: vec![
                super::operation::NODE_UNPUBLISH.to_owned(),
                super::operation::NODE_UNSTAGE.to_owned(),
            ],
            code: "Internal".to_owned(),
            message: "rbd: unmap failed: (16) Device or resource busy".to_owned(),
        }
    }
}

impl Effect for Spec {
    fn row(&self) -> &'static Row {
        &ROW
    }
    fn aim(&self) -> &Aim {
        &self.aim
    }
    fn reaches(&self, point: &Point) -> bool {
        point.seam == Seam::Csi && self.operations.contains(&point.operation)
    }
    fn verdict(&self, _: &Point, _: &mut ChaCha8Rng, _: &mut BTreeSet<String>) -> Verdict {
        Verdict::fail(self.code.as_str(), self.message.as_str())
    }
}
