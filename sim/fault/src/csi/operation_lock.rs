//! Operation lock: an RPC hangs in the backend and its id stays locked until the driver restarts.
//!
//! The world: ceph-csi keeps an in-memory set of ids. The first call blocks inside librados; the client's
//! deadline passes (`DeadlineExceeded`), the goroutine does not end, and every retry is answered `Aborted`
//! with `an operation with the given Snapshot ID <id> already exists` by a process that looks healthy. Healing
//! the backend does not end the blocked call: only a restart of the driver does, so after the lift the lock
//! *lingers* until [`crate::Register::restarted`]. Editing finalizers changes nothing. A sound subject reports
//! no false success, says what it waits for, and resumes by itself after the restart.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Effect, Point, Row, Seam, Verdict};

/// Its row in the fault model.
pub const ROW: Row = Row {
    name: "csi-operation-lock",
    seam: Seam::Csi,
    survivable: true,
    about: "an RPC hangs and leaves its id locked: retries are answered Aborted until the driver restarts",
    aims_at: "volume or snapshot ids; at most one hang per id",
    sound: "no false success, says what it waits for, resumes by itself after the driver's restart",
};

/// The fault as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Where it strikes.
    pub aim: Aim,
    /// The RPCs that may hang.
    pub operations: Vec<String>,
    /// Whether the blocked call returns when the backend heals, which releases the lock without a restart.
    pub returns: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            aim: Aim::default(),
            operations: vec![super::operation::DELETE_SNAPSHOT.to_owned()],
            returns: false,
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
        point.seam == Seam::Csi && super::operation::RPCS.contains(&point.operation.as_str())
    }
    fn verdict(&self, point: &Point, _: &mut ChaCha8Rng, memory: &mut BTreeSet<String>) -> Verdict {
        if !self.operations.contains(&point.operation) {
            return Verdict::Proceed;
        }
        memory.insert(point.class.clone());
        Verdict::Hang
    }
    fn residue(&self, point: &Point, memory: &BTreeSet<String>) -> Option<Verdict> {
        let thing = if point.operation.ends_with("Snapshot") { "Snapshot" } else { "Volume" };
        let message = format!("an operation with the given {thing} ID {} already exists", point.class);
        memory.contains(&point.class).then(|| Verdict::fail("Aborted", message))
    }
    fn lingers(&self, memory: &BTreeSet<String>) -> bool {
        !self.returns && !memory.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Register;

    const DELETE: &str = super::super::operation::DELETE_SNAPSHOT;

    #[test]
    fn one_hang_then_aborted_until_the_driver_restarts() {
        let register = Register::new(1);
        let id = register.arm(Spec { aim: Aim::class("snap-1"), ..Spec::default() });
        assert_eq!(register.at(Seam::Csi, "driver", DELETE, "snap-1").verdict, Verdict::Hang);
        assert_eq!(register.at(Seam::Csi, "driver", DELETE, "snap-2").verdict, Verdict::Proceed);
        for _ in 0..2 {
            let Verdict::Fail { code, message } = register.at(Seam::Csi, "driver", DELETE, "snap-1").verdict
            else {
                panic!("a retry is refused")
            };
            assert_eq!(code, "Aborted");
            assert_eq!(message, "an operation with the given Snapshot ID snap-1 already exists");
        }
        register.lift(id);
        assert!(!register.is_over(id), "healing the backend does not end the blocked call");
        assert!(matches!(register.at(Seam::Csi, "driver", DELETE, "snap-1").verdict, Verdict::Fail { .. }));
        register.restarted(Seam::Csi);
        assert!(register.is_over(id));
        assert_eq!(register.at(Seam::Csi, "driver", DELETE, "snap-1").verdict, Verdict::Proceed);
    }

    #[test]
    fn a_restart_while_the_backend_still_stalls_hangs_again() {
        let register = Register::new(1);
        register.arm(Spec::default());
        assert_eq!(register.at(Seam::Csi, "driver", DELETE, "s").verdict, Verdict::Hang);
        register.restarted(Seam::Csi);
        assert_eq!(register.at(Seam::Csi, "driver", DELETE, "s").verdict, Verdict::Hang);
    }

    #[test]
    fn a_call_that_returns_releases_its_lock() {
        let register = Register::new(1);
        let id = register.arm(Spec { returns: true, ..Spec::default() });
        assert_eq!(register.at(Seam::Csi, "driver", DELETE, "s").verdict, Verdict::Hang);
        register.lift(id);
        assert!(register.is_over(id));
        assert_eq!(register.at(Seam::Csi, "driver", DELETE, "s").verdict, Verdict::Proceed);
    }
}
