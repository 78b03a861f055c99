//! RPC hangs: the named RPCs do not answer before the lift.
//!
//! The world: a backend that stalls inside the call and comes back; retries meanwhile are answered `Aborted`,
//! since their id is in use. Unlike [`super::operation_lock`] nothing stays behind afterwards. A sound subject
//! reports no false success, says what it waits for, and resumes by itself after the lift.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "csi-rpc-hangs",
    seam: Seam::Csi,
    survivable: true,
    about: "the named RPCs do not answer until the backend is back",
    aims_at: "volumes or snapshots by name; RPCs by name",
    sound: "no false success, says what it waits for, resumes by itself after the lift",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// The RPCs it strikes, by gRPC's name of the method.
    pub operations: Vec<String>,
}

impl Default for Spec {
    fn default() -> Self {
        Self { aim: Aim::default(), operations: vec![super::operation::CREATE_VOLUME.to_owned()] }
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
        Verdict::Hang
    }
}
