//! The list of faults, and what each one is to the register.
//!
//! One line per fault in [`Fault`] (through the macro at the end), one file per fault in its seam's
//! folder, one [`Row`] in [`CATALOGUE`]. A fault is data: it is written in scenarios by its kebab-case
//! name (`fault: csi-delete-snapshot-fails`) and holds no state; state is the register's.
use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Aim, Point, Seam, Verdict};

/// One row of the fault model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name in scenarios and records.
    pub name: &'static str,
    /// Where it enters.
    pub seam: Seam,
    /// Whether a sound subject loses nothing for good when the fault has been lifted.
    pub survivable: bool,
    /// What happens in the world that this stands for.
    pub about: &'static str,
    /// What it can be aimed at.
    pub aims_at: &'static str,
    /// What a sound subject must do.
    pub sound: &'static str,
}

/// How a fault behaves at the points it reaches.
pub trait Effect {
    /// Its row in the fault model.
    fn row(&self) -> &'static Row;
    /// Its aim.
    fn aim(&self) -> &Aim;
    /// Whether the operation is one this fault can strike (seam and operation; the aim comes on top).
    fn reaches(&self, point: &Point) -> bool;
    /// What happens at a point that was aimed at. `memory` survives from firing to firing.
    fn verdict(&self, point: &Point, chance: &mut ChaCha8Rng, memory: &mut BTreeSet<String>) -> Verdict;
    /// What earlier firings still do, regardless of counts and even after the lift.
    fn residue(&self, point: &Point, memory: &BTreeSet<String>) -> Option<Verdict> {
        let _ = (point, memory);
        None
    }
    /// Whether lifting leaves something behind that only a restart of the seam's process clears.
    fn lingers(&self, memory: &BTreeSet<String>) -> bool {
        let _ = memory;
        false
    }
}

/// No fault has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fault is called {name:?}; known are {}", known())]
pub struct UnknownFault {
    /// The name asked for.
    pub name: String,
}

fn known() -> String {
    CATALOGUE.iter().map(|row| row.name).collect::<Vec<_>>().join(", ")
}

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident($($path:ident)::+),)+) => {
        /// A fault, as data.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "fault", rename_all = "kebab-case")]
        pub enum Fault {
            $($(#[$doc])* $variant(crate::$($path)::+::Spec),)+
        }

        /// Every fault there is, in reading order.
        pub const CATALOGUE: &[Row] = &[$(crate::$($path)::+::ROW,)+];

        impl Fault {
            /// The fault of this name with its default aim and parameters.
            ///
            /// # Errors
            /// [`UnknownFault`], which lists the names there are.
            pub fn named(name: &str) -> Result<Self, UnknownFault> {
                $(if name == crate::$($path)::+::ROW.name {
                    return Ok(Self::$variant(crate::$($path)::+::Spec::default()));
                })+
                Err(UnknownFault { name: name.to_owned() })
            }
            /// Its behaviour.
            pub fn effect(&self) -> &dyn Effect {
                match self { $(Self::$variant(spec) => spec,)+ }
            }
            /// Its aim, to be narrowed.
            pub fn aim_mut(&mut self) -> &mut Aim {
                match self { $(Self::$variant(spec) => &mut spec.aim,)+ }
            }
        }

        $(impl From<crate::$($path)::+::Spec> for Fault {
            fn from(spec: crate::$($path)::+::Spec) -> Self { Self::$variant(spec) }
        })+
    };
}

faults! {
    /// Data pages dropped at write-back on a CephFS volume; metadata kept.
    CephfsWriteBackZeroing(tree::cephfs_write_back_zeroing),
    /// Written regions of a sparse file lost on a CephFS volume, without an error.
    SparseRegionLoss(tree::sparse_region_loss),
    /// Reading a file gives EIO.
    TreeReadError(tree::read_error),
    /// DeleteSnapshot answers an error.
    CsiDeleteSnapshotFails(csi::delete_snapshot_fails),
    /// DeleteSnapshot does not answer.
    CsiDeleteSnapshotHangs(csi::delete_snapshot_hangs),
    /// An RPC hangs and leaves its id locked until the driver restarts.
    CsiOperationLock(csi::operation_lock),
    /// A snapshot is cut but never becomes ready.
    CsiSnapshotNeverReady(csi::snapshot_never_ready),
    /// RPCs answer an error.
    CsiRpcFails(csi::rpc_fails),
    /// RPCs do not answer.
    CsiRpcHangs(csi::rpc_hangs),
    /// RPCs answer late.
    CsiRpcSlow(csi::rpc_slow),
    /// A node cannot let go of a volume.
    CsiVolumeStaysAttached(csi::volume_stays_attached),
    /// A finalizer stays on a volume snapshot.
    CsiSnapshotFinalizerHeld(csi::snapshot_finalizer_held),
    /// The export does not answer; hard mounts wait.
    NfsHardMountHang(nfs::hard_mount_hang),
    /// The server is stopped, paused or cut off; nothing answers.
    NfsServerAway(nfs::server_away),
    /// A soft mount gives up with EIO.
    NfsSoftMountEio(nfs::soft_mount_eio),
    /// The export was replaced; old handles are stale.
    NfsStaleHandle(nfs::stale_handle),
    /// No space or quota left on the export.
    NfsNoSpace(nfs::no_space),
    /// The export shows another directory, or an empty one.
    NfsWrongExport(nfs::wrong_export),
    /// A stored blob's bits have changed.
    StoreBitRot(store::bit_rot),
    /// A stored blob has vanished.
    StoreMissingBlob(store::missing_blob),
    /// The store answers 503.
    StoreUnavailable(store::unavailable),
    /// The store answers late.
    StoreSlow(store::slow),
    /// The connection breaks in the middle of a body.
    StoreReset(store::reset),
    /// The store has no room.
    StoreFull(store::full),
    /// The store's clock stands off.
    StoreClockSkew(store::clock_skew),
    /// The pod is told to stop.
    ProcessSigterm(process::sigterm),
    /// The kernel kills the process for memory.
    ProcessOomKill(process::oom_kill),
    /// A pod's clock stands off.
    ClockJump(clock::jump),
    /// A pod's clock runs at another pace.
    ClockDrift(clock::drift),
}

impl Fault {
    /// Its name in scenarios and records.
    pub fn name(&self) -> &'static str {
        self.effect().row().name
    }
    /// Its row in the fault model.
    pub fn row(&self) -> &'static Row {
        self.effect().row()
    }
    /// For a fault that strikes bytes at rest: the pattern over the holders it may strike.
    pub fn at_rest_in(&self) -> Option<&str> {
        match self {
            Self::StoreBitRot(spec) => Some(&spec.store),
            Self::StoreMissingBlob(spec) => Some(&spec.store),
            _ => None,
        }
    }
    /// The same fault with another aim.
    #[must_use]
    pub fn aimed(mut self, aim: Aim) -> Self {
        *self.aim_mut() = aim;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_serde_and_unique() {
        let mut seen = BTreeSet::new();
        for row in CATALOGUE {
            assert!(seen.insert(row.name), "{} stands twice", row.name);
            let fault = Fault::named(row.name).expect("a catalogued fault has a default");
            let value = serde_json::to_value(&fault).expect("a fault is plain data");
            assert_eq!(value["fault"], row.name);
            let back: Fault = serde_json::from_value(value).expect("what was written reads back");
            assert_eq!(back, fault);
            let short: Fault =
                serde_json::from_value(serde_json::json!({ "fault": row.name })).expect("a name is enough");
            assert_eq!(short, fault, "defaults are the same from data and from code");
            assert!(
                !row.about.is_empty() && !row.sound.is_empty() && !row.aims_at.is_empty(),
                "{} says nothing",
                row.name
            );
        }
    }

    #[test]
    fn unknown_names_and_fields_are_refused() {
        let error = Fault::named("cosmic-ray").unwrap_err().to_string();
        assert!(error.contains("cosmic-ray") && error.contains("store-bit-rot"), "{error}");
        for text in [
            r#"{"fault":"cosmic-ray"}"#,
            r#"{"fault":"store-bit-rot","colour":"red"}"#,
            r#"{"fault":"store-bit-rot","aim":{"actr":"x"}}"#,
        ] {
            assert!(serde_json::from_str::<Fault>(text).is_err(), "{text} was taken");
        }
    }
}
