//! RPC slow: the named RPCs answer late.
//!
//! The world: a busy or recovering backend. A sound subject waits, shows what it waits for, and succeeds.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "csi-rpc-slow",
    seam: Seam::Csi,
    survivable: true,
    about: "the named RPCs answer late",
    aims_at: "volumes or snapshots by name; RPCs by name",
    sound: "waits, shows what it waits for, and succeeds",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// The RPCs it strikes, by gRPC's name of the method.
    pub operations: Vec<String>,
    /// How late, in milliseconds.
    pub milliseconds: u64,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            aim: Aim::default(),
            operations: vec![
                super::operation::CREATE_SNAPSHOT.to_owned(),
                super::operation::CREATE_VOLUME.to_owned(),
            ],
            milliseconds: 30_000,
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
        Verdict::Delay(std::time::Duration::from_millis(self.milliseconds))
    }
}
