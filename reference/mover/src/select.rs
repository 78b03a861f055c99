//! Which snapshot a restore is about, and which others may be meant when there is none.
//!
//! Pure functions over a list of snapshots. The safe choice compares instants and skips incomplete
//! snapshots; the original compares texts and takes what it finds (`specs/volsync-behaviour.md`
//! section 4.9). When nothing of the wanted identity exists, [`alike`] finds the same app under another
//! spelling, namespace or path; it prefers a false alarm to a false "first deployment", but never calls
//! two names alike that differ in letters or digits of their own.
use std::collections::{BTreeMap, BTreeSet};

use contract::{Identity, Profile, outcome::Candidate, request::Restore};
use engine::Snapshot;

/// The identity of a snapshot.
pub fn identity(snapshot: &Snapshot) -> Identity {
    Identity::new(&snapshot.source.username, &snapshot.source.host, &snapshot.source.path)
}

/// What a choice came to.
#[derive(Debug, PartialEq)]
pub enum Choice<'a> {
    /// This one.
    Snapshot(&'a Snapshot),
    /// Only the original: `previous` beyond the end, which its script passes on as `null`.
    Null,
    /// None.
    Nothing,
}

/// Chooses the snapshot of `wanted` that the task asks for.
pub fn choose<'a>(
    snapshots: &'a [Snapshot],
    wanted: &Identity,
    task: &Restore,
    profile: Profile,
) -> Choice<'a> {
    let is_original = profile.is_original();
    let mut own: Vec<&Snapshot> = snapshots
        .iter()
        .filter(|snapshot| identity(snapshot) == *wanted && (is_original || snapshot.incomplete.is_none()))
        .collect();
    own.sort_by(|a, b| (b.start_time, &b.id).cmp(&(a.start_time, &a.id)));
    let newest_text = |snapshot: &Snapshot| snapshot.start_time.to_string();
    if let Some(text) = &task.as_of {
        match task.as_of_instant() {
            Some(instant) if !is_original => own.retain(|snapshot| snapshot.start_time <= instant),
            _ => own.retain(|snapshot| newest_text(snapshot) <= *text),
        }
    }
    if own.is_empty() || task.shallow == Some(0) && task.as_of.is_none() {
        return Choice::Nothing;
    }
    let previous = usize::try_from(task.previous.unwrap_or(0)).unwrap_or(0);
    match own.get(previous) {
        Some(snapshot) => Choice::Snapshot(snapshot),
        None if is_original && task.as_of.is_none() && task.shallow.is_none() => Choice::Null,
        None => Choice::Nothing,
    }
}

/// Groups snapshots to one candidate per identity, newest first; incomplete snapshots are left out.
pub fn lines<'a>(snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Vec<Candidate> {
    let mut lines: BTreeMap<Identity, Candidate> = BTreeMap::new();
    for snapshot in snapshots.into_iter().filter(|snapshot| snapshot.incomplete.is_none()) {
        let identity = identity(snapshot);
        let line = lines.entry(identity.clone()).or_insert(Candidate {
            identity,
            snapshots: 0,
            latest: snapshot.start_time,
        });
        line.snapshots += 1;
        line.latest = line.latest.max(snapshot.start_time);
    }
    let mut lines: Vec<Candidate> = lines.into_values().collect();
    lines.sort_by(|a, b| b.latest.cmp(&a.latest).then_with(|| a.identity.cmp(&b.identity)));
    lines
}

/// The lines of snapshots that may be the wanted app under another name, namespace or path.
pub fn alike(snapshots: &[Snapshot], wanted: &Identity) -> Vec<Candidate> {
    lines(snapshots.iter().filter(|snapshot| is_alike(&identity(snapshot), wanted)))
}

/// Words that tell what an object is for in a backup, not which app it belongs to.
const ROLES: [&str; 21] = [
    "dst",
    "dest",
    "destination",
    "src",
    "source",
    "rd",
    "rs",
    "restore",
    "restored",
    "backup",
    "backups",
    "bak",
    "bootstrap",
    "nfs",
    "s3",
    "b2",
    "r2",
    "minio",
    "local",
    "remote",
    "kopia",
];

/// Whether two identities may belong to the same app.
pub fn is_alike(found: &Identity, wanted: &Identity) -> bool {
    let app = name_of_app(&wanted.username);
    name_of_app(&found.username) == app
        || pod_of_mover(&found.hostname).is_some_and(|name| name_of_app(name) == app)
}

/// The letters and digits of a name in lower case, without role words at its ends.
fn name_of_app(name: &str) -> String {
    let lower = name.to_lowercase();
    let mut words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let roles: BTreeSet<&str> = ROLES.into_iter().collect();
    while words.len() > 1 && words.last().is_some_and(|word| roles.contains(word)) {
        words.pop();
    }
    while words.len() > 1 && words.first().is_some_and(|word| roles.contains(word) || *word == "volsync") {
        words.remove(0);
    }
    words.concat()
}

/// The object's name in the host name of a mover's pod (`volsync-src-<name>-<5 characters>`), where a
/// client ends up whose identity could not be set.
fn pod_of_mover(hostname: &str) -> Option<&str> {
    let rest = hostname.strip_prefix("volsync-src-").or_else(|| hostname.strip_prefix("volsync-dst-"))?;
    rest.rsplit_once('-').map(|(name, _)| name)
}

#[cfg(test)]
mod tests;
