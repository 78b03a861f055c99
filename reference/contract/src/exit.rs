//! Exit codes: one number per reason a run can end for.
//!
//! The original uses 1 for every error; under [`Profile::Original`] all of these map to it
//! ([`ExitCode::code`]). Numbers are stable: a Job's `podFailurePolicy` may name them. They stay clear of
//! the shell's own (2, 126–165) but for 143, which is what a process ended by SIGTERM has.
use serde::{Deserialize, Serialize};

use crate::Profile;

/// Why a run ended, as a process tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitCode {
    /// Done; the outcome tells what, since "nothing to do" ends so too.
    Ok,
    /// An error with no number of its own; every error of the original.
    Failed,
    /// The request itself is wrong: a missing or malformed variable, an unknown compressor, a place that
    /// this mover cannot open.
    Misconfigured,
    /// The repository's place does not answer: not mounted, hung up, refused, I/O error. A retry may help.
    RepositoryUnreachable,
    /// The place is reachable and holds no repository, and this run may not create one.
    RepositoryMissing,
    /// The repository stands there and the password does not open it.
    WrongPassword,
    /// A repository opens, but it is not the one known before (other unique id), or the known one is gone
    /// and its place empty: a wrong, empty or freshly created export.
    WrongRepository,
    /// No snapshot of the wanted identity, but of the same app under another spelling, namespace or path.
    OnlyAlike,
    /// Snapshots of the wanted identity exist, or are known to have existed, but none that was asked for.
    NothingEligible,
    /// What was restored reads back different from the snapshot.
    ReadBackMismatch,
    /// Writing back to the medium failed (`sync`), so that nothing restored may be trusted.
    SyncFailed,
    /// No space or quota left, in the repository or on the data volume.
    OutOfSpace,
    /// The repository is damaged where this run needed it.
    RepositoryCorrupt,
    /// Maintenance belongs to somebody else and no takeover from them was asked for.
    MaintenanceForeign,
    /// The data volume could not be read or written.
    DataVolume,
    /// Parts of the source could not be read; the snapshot was stored without them.
    SourceUnreadable,
    /// The action before the snapshot failed.
    ActionFailed,
    /// A broken invariant of the mover.
    Internal,
    /// Told to stop (SIGTERM, SIGINT): nothing of this run counts.
    Stopped,
}

impl ExitCode {
    /// Every code, in the order of the numbers.
    pub const ALL: [Self; 19] = [
        Self::Ok,
        Self::Failed,
        Self::Misconfigured,
        Self::RepositoryUnreachable,
        Self::RepositoryMissing,
        Self::WrongPassword,
        Self::WrongRepository,
        Self::OnlyAlike,
        Self::NothingEligible,
        Self::ReadBackMismatch,
        Self::SyncFailed,
        Self::OutOfSpace,
        Self::RepositoryCorrupt,
        Self::MaintenanceForeign,
        Self::DataVolume,
        Self::SourceUnreadable,
        Self::ActionFailed,
        Self::Internal,
        Self::Stopped,
    ];

    /// The number under the safe profile.
    pub fn number(self) -> i32 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Misconfigured => 10,
            Self::RepositoryUnreachable => 11,
            Self::RepositoryMissing => 12,
            Self::WrongPassword => 13,
            Self::WrongRepository => 14,
            Self::OnlyAlike => 15,
            Self::NothingEligible => 16,
            Self::ReadBackMismatch => 17,
            Self::SyncFailed => 18,
            Self::OutOfSpace => 19,
            Self::RepositoryCorrupt => 20,
            Self::MaintenanceForeign => 21,
            Self::DataVolume => 22,
            Self::SourceUnreadable => 23,
            Self::ActionFailed => 24,
            Self::Internal => 70,
            Self::Stopped => 143,
        }
    }

    /// The number a process ends with: the original knows only 0, 1 and 143.
    pub fn code(self, profile: Profile) -> i32 {
        match (profile, self) {
            (Profile::Safe, _) | (_, Self::Ok | Self::Stopped) => self.number(),
            (Profile::Original, _) => 1,
        }
    }

    /// The code with this number; `None` for numbers that no mover of ours ends with (137 of a killed one).
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// One sentence for an operator.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "the run did what it was asked",
            Self::Failed => "the run failed",
            Self::Misconfigured => "the mover was given a request that it cannot carry out",
            Self::RepositoryUnreachable => "the repository does not answer",
            Self::RepositoryMissing => "there is no repository at its place, and this run may not create one",
            Self::WrongPassword => "the password does not open the repository",
            Self::WrongRepository => "the repository is not the one known from earlier runs",
            Self::OnlyAlike => {
                "no snapshot of this identity, but the same app stands there under another one"
            }
            Self::NothingEligible => {
                "there are or were snapshots of this identity, but none that was asked for"
            }
            Self::ReadBackMismatch => "restored files read back different from the snapshot",
            Self::SyncFailed => "the data volume failed to write back what was restored",
            Self::OutOfSpace => "no space or quota left",
            Self::RepositoryCorrupt => "the repository is damaged",
            Self::MaintenanceForeign => "maintenance of the repository belongs to somebody else",
            Self::DataVolume => "the data volume could not be read or written",
            Self::SourceUnreadable => "parts of the source could not be read; the snapshot lacks them",
            Self::ActionFailed => "the action before the snapshot failed",
            Self::Internal => "the mover broke an invariant of its own",
            Self::Stopped => "the mover was told to stop before it was done",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_are_distinct_and_read_back() {
        let numbers: BTreeSet<i32> = ExitCode::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers.len(), ExitCode::ALL.len());
        for code in ExitCode::ALL {
            assert_eq!(ExitCode::from_number(code.number()), Some(code));
            assert_eq!(code.number() == 0, code == ExitCode::Ok);
        }
        assert_eq!(ExitCode::from_number(137), None);
    }

    #[test]
    fn the_original_knows_only_one_error() {
        assert_eq!(ExitCode::WrongPassword.code(Profile::Original), 1);
        assert_eq!(ExitCode::Ok.code(Profile::Original), 0);
        assert_eq!(ExitCode::WrongPassword.code(Profile::Safe), 13);
    }
}
