//! How a mover run ended, as it fits into a pod's termination message.
//!
//! An [`Outcome`] tells what happened, not only whether: a success that stored nothing says so. Its JSON
//! form never exceeds the 4096 bytes that Kubernetes keeps; lists are cut before words, and what was cut
//! is counted. It holds no secret.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ExitCode, Identity, Operation, Profile, pod::TERMINATION_BYTES_MAX};

/// How a mover run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The process's exit code.
    pub exit_code: i32,
    /// What was asked; absent when not even that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// What came of it.
    pub ending: Ending,
    /// The snapshot that was stored or restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// The repository that was opened and accepted, on failures too; never one that was refused as another
    /// than the known one. Whoever keeps its id for later runs may take it from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
    /// What the read-back check after a restore compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_back: Option<ReadBack>,
    /// What the format cannot carry, or what was left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Loss>,
    /// Trouble that did not end the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// How many list entries were cut to fit the termination message.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut: u32,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "camelCase")]
pub enum Ending {
    /// A complete snapshot was stored.
    BackedUp,
    /// The source is empty: nothing was stored, the repository was not touched.
    SourceEmpty,
    /// A snapshot was restored; under the safe profile also read back.
    Restored,
    /// Nothing was restored, on purpose.
    NothingRestored {
        /// Why that is in order.
        reason: NothingReason,
    },
    /// Maintenance ran.
    Maintained {
        /// The owner it ran as.
        owner: String,
        /// From whom ownership was taken over by this run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        taken_from: Option<String>,
    },
    /// The run failed or was stopped; nothing of it counts.
    Failed(Failure),
}

/// Why a restore that brings nothing is in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NothingReason {
    /// The repository is healthy and the one known, and nothing alike stands in it.
    FirstDeployment,
    /// Under the original's profile: nothing was found, for whatever reason.
    NothingFound,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The reason as a code; under the original's profile the process ends with 1 instead of its number.
    pub code: ExitCode,
    /// One or two sentences for an operator, with the chain of causes.
    pub message: String,
    /// Snapshot lines that may be meant instead (nothing found), or that exist (nothing eligible).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// Paths that are affected (read-back, corruption, unreadable source).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// How many paths are affected, those that were cut included.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub paths_total: u64,
}

/// A line of snapshots in the repository that may be the wanted one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Its identity.
    pub identity: Identity,
    /// How many complete snapshots it has.
    pub snapshots: u32,
    /// Start of the newest one.
    pub latest: Timestamp,
}

/// A snapshot that was stored or restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Manifest id.
    pub id: String,
    /// Whose it is.
    pub identity: Identity,
    /// When the backup started.
    pub start: Timestamp,
    /// Files in it.
    pub files: u64,
    /// Bytes in those files.
    pub bytes: u64,
}

/// The repository that was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// Its unique id, to be kept and handed to later runs.
    pub unique_id: String,
    /// Whether this run created it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub created: bool,
}

/// What the read-back check compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadBack {
    /// Files compared byte by byte.
    pub files: u64,
    /// Bytes compared.
    pub bytes: u64,
    /// Files that differ.
    pub mismatches: u64,
}

/// Something that was not carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Loss {
    /// What kind, such as `hard links` or `unreadable`.
    pub what: String,
    /// How many entries.
    pub count: u64,
    /// One of them.
    pub example: String,
}

// serde's `skip_serializing_if` hands out references.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_zero_u64(count: &u64) -> bool {
    *count == 0
}

impl Failure {
    /// A failure with a message only.
    pub fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), candidates: Vec::new(), paths: Vec::new(), paths_total: 0 }
    }
}

impl Outcome {
    /// A run that ended in order.
    pub fn success(operation: Operation, ending: Ending) -> Self {
        Self {
            exit_code: 0,
            operation: Some(operation),
            ending,
            snapshot: None,
            repository: None,
            read_back: None,
            losses: Vec::new(),
            warnings: Vec::new(),
            cut: 0,
        }
    }
    /// A run that failed; the number depends on the profile.
    pub fn failure(operation: Option<Operation>, profile: Profile, failure: Failure) -> Self {
        let exit_code = failure.code.code(profile);
        Self { exit_code, operation, ..Self::success(Operation::Backup, Ending::Failed(failure)) }
    }
    /// The failure, if the run failed.
    pub fn failed(&self) -> Option<&Failure> {
        match &self.ending {
            Ending::Failed(failure) => Some(failure),
            _ => None,
        }
    }
    /// Whether the run ended with exit code 0.
    pub fn is_success(&self) -> bool {
        self.exit_code == 0
    }

    /// The JSON for the termination message.
    ///
    /// # Units and shape
    /// At most [`TERMINATION_BYTES_MAX`] bytes, always valid JSON that [`Outcome::from_termination_message`]
    /// reads: first lists are halved, then long texts, until it fits.
    pub fn to_termination_message(&self) -> String {
        let mut outcome = self.clone();
        let mut text_chars_max = 2048;
        loop {
            let json = serde_json::to_string(&outcome).expect("an outcome has only string keys");
            if json.len() <= TERMINATION_BYTES_MAX {
                return json;
            }
            if !outcome.cut_longest_list() {
                outcome.cut_texts(text_chars_max);
                text_chars_max /= 2;
            }
        }
    }

    /// Reads what [`Outcome::to_termination_message`] wrote; `None` for anything else, such as the message
    /// of a mover that is not ours or a pod that was killed.
    pub fn from_termination_message(message: &str) -> Option<Self> {
        serde_json::from_str(message.trim()).ok()
    }

    /// Halves the longest list that has more than one entry (paths and candidates down to one).
    fn cut_longest_list(&mut self) -> bool {
        let (candidates, paths) = match &self.ending {
            Ending::Failed(failure) => (failure.candidates.len(), failure.paths.len()),
            _ => (0, 0),
        };
        let longest = candidates.max(paths).max(self.losses.len()).max(self.warnings.len());
        if longest <= 1 {
            return false;
        }
        let keep = longest / 2;
        if let Ending::Failed(failure) = &mut self.ending {
            failure.candidates.truncate(keep);
            failure.paths.truncate(keep);
            self.cut += (candidates - failure.candidates.len() + paths - failure.paths.len()) as u32;
        }
        self.cut +=
            (self.losses.len().saturating_sub(keep) + self.warnings.len().saturating_sub(keep)) as u32;
        self.losses.truncate(keep);
        self.warnings.truncate(keep);
        true
    }

    fn cut_texts(&mut self, chars_max: usize) {
        if let Ending::Failed(failure) = &mut self.ending {
            shorten(&mut failure.message, chars_max);
            failure.paths.iter_mut().for_each(|path| shorten(path, chars_max));
            failure
                .candidates
                .iter_mut()
                .for_each(|candidate| shorten_identity(&mut candidate.identity, chars_max));
        }
        if let Ending::Maintained { owner, taken_from } = &mut self.ending {
            shorten(owner, chars_max);
            if let Some(from) = taken_from {
                shorten(from, chars_max);
            }
        }
        if let Some(snapshot) = &mut self.snapshot {
            shorten(&mut snapshot.id, chars_max);
            shorten_identity(&mut snapshot.identity, chars_max);
        }
        if let Some(repository) = &mut self.repository {
            shorten(&mut repository.unique_id, chars_max.max(64));
        }
        self.warnings.iter_mut().for_each(|warning| shorten(warning, chars_max));
        for loss in &mut self.losses {
            shorten(&mut loss.what, chars_max);
            shorten(&mut loss.example, chars_max);
        }
    }
}

fn shorten_identity(identity: &mut Identity, chars_max: usize) {
    shorten(&mut identity.username, chars_max);
    shorten(&mut identity.hostname, chars_max);
    shorten(&mut identity.path, chars_max);
}

/// Cuts at a character boundary and marks the cut.
fn shorten(text: &mut String, chars_max: usize) {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn big(count: usize, length: usize) -> Outcome {
        let word = "ü\"\u{1}".repeat(length);
        let candidate = Candidate {
            identity: Identity::new(&word, "host", &word),
            snapshots: 1,
            latest: Timestamp::UNIX_EPOCH,
        };
        let failure = Failure {
            code: ExitCode::ReadBackMismatch,
            message: word.clone(),
            candidates: vec![candidate; count],
            paths: vec![word.clone(); count],
            paths_total: count as u64,
        };
        let mut outcome = Outcome::failure(Some(Operation::Restore), Profile::Safe, failure);
        outcome.warnings = vec![word.clone(); count];
        outcome.losses = vec![Loss { what: word.clone(), count: 1, example: word.clone() }; count];
        outcome.snapshot = Some(Snapshot {
            id: word.clone(),
            identity: Identity::new(&word, &word, &word),
            start: Timestamp::UNIX_EPOCH,
            files: 1,
            bytes: 1,
        });
        outcome
    }

    #[test]
    fn every_outcome_fits_and_reads_back() {
        for (count, length) in [(0, 0), (1, 1), (3, 10), (100, 20), (1, 5000), (300, 200)] {
            let outcome = big(count, length);
            let message = outcome.to_termination_message();
            assert!(message.len() <= TERMINATION_BYTES_MAX, "{count} × {length}: {}", message.len());
            let back = Outcome::from_termination_message(&message).expect("our own message");
            assert_eq!(back.exit_code, outcome.exit_code);
            assert_eq!(back.failed().map(|failure| failure.code), Some(ExitCode::ReadBackMismatch));
            assert_eq!(back.failed().map(|failure| failure.paths_total), Some(count as u64));
            if count <= 3 && length <= 10 {
                assert_eq!(back, outcome);
            }
        }
    }

    #[test]
    fn the_form_is_stable() {
        let mut outcome = Outcome::success(Operation::Backup, Ending::BackedUp);
        outcome.repository = Some(Repository { unique_id: "aa".into(), created: true });
        assert_eq!(
            outcome.to_termination_message(),
            r#"{"exitCode":0,"operation":"backup","ending":{"result":"backedUp"},"repository":{"uniqueId":"aa","created":true}}"#
        );
        let outcome = Outcome::failure(None, Profile::Safe, Failure::new(ExitCode::WrongPassword, "no"));
        assert_eq!(
            outcome.to_termination_message(),
            r#"{"exitCode":13,"ending":{"result":"failed","code":"wrong-password","message":"no"}}"#
        );
        assert_eq!(Outcome::from_termination_message("Error: something else"), None);
    }
}
