//! The steps of maintenance that decide about contents and packs.
//!
//! Nothing is deleted at once: unused contents are marked, marks become final later, and packs go only when
//! no index names them, they are old, and no session owns them. Any doubt (an unreadable directory, an
//! unreadable session marker) ends the step with an error.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::SafetyParameters;
use crate::{
    blob,
    content::{self, committed::Contents, index::Entry, session::Session},
    encrypt::blob_identifier,
    error::Error,
    object,
    restore::read_entries,
    snapshot::{EntryKind, Snapshot},
};

/// How many things a step dealt with, and their bytes.
pub type Tally = (u64, u64);

/// Packs with less than this share of a full pack are rewritten.
const SHORT_PERCENT: u64 = 60;

/// Every content that a snapshot needs.
async fn used(contents: &Contents, snapshots: &[Snapshot]) -> Result<BTreeSet<content::Id>, Error> {
    let mut used = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut queue: Vec<(object::Id, EntryKind)> =
        snapshots.iter().map(|snapshot| (snapshot.root.object, snapshot.root.kind)).collect();
    while let Some((object, kind)) = queue.pop() {
        if !seen.insert(object) {
            continue;
        }
        object::contents(contents, object, &mut used).await?;
        if kind == EntryKind::Directory {
            queue.extend(
                read_entries(contents, object).await?.into_iter().map(|entry| (entry.object, entry.kind)),
            );
        }
    }
    Ok(used)
}

/// Marks contents that no snapshot needs, and takes back marks of contents that are needed.
pub async fn collect(
    contents: &Contents,
    snapshots: &[Snapshot],
    start: Timestamp,
    safety: &SafetyParameters,
) -> Result<Tally, Error> {
    let used = used(contents, snapshots).await?;
    let mut session = Session::new(contents)?;
    let (mut count, mut bytes) = (0, 0);
    for (id, entry) in contents.view().all()?.iter() {
        if id.prefix() == Some(b'm') {
            continue;
        }
        if used.contains(id) {
            if entry.is_deleted {
                session.rewrite(entry, true).await?;
            }
        } else if !entry.is_deleted && start.as_second() - entry.timestamp >= safety.gc_age.as_secs() {
            session.delete(id)?;
            count += 1;
            bytes += u64::from(entry.packed_length);
        }
    }
    session.flush().await?;
    Ok((count, bytes))
}

/// Moves the live contents of short packs into new ones; the old packs are orphans when nothing is left in them.
///
/// Kopia moves contents that are marked deleted too, which renews the mark: in repositories whose packs are
/// all short, a mark is then never old enough to become final. Left where they are, they expire.
pub async fn rewrite(contents: &Contents, safety: &SafetyParameters) -> Result<Tally, Error> {
    let all = contents.view().all()?;
    let mut packs: BTreeMap<&blob::Id, Vec<&Entry>> = BTreeMap::new();
    for entry in all.values().filter(|entry| !entry.is_deleted) {
        packs.entry(&entry.pack).or_default().push(entry);
    }
    let limit = contents.secrets.format.pack_bytes_max * SHORT_PERCENT / 100;
    packs
        .retain(|_, entries| entries.iter().map(|entry| u64::from(entry.packed_length)).sum::<u64>() < limit);
    let now = (contents.context.now)().as_second();
    let mut session = Session::new(contents)?;
    let (mut count, mut bytes) = (0, 0);
    for letter in ["p", "q"] {
        let short: Vec<&Vec<&Entry>> = packs
            .iter()
            .filter(|(pack, _)| pack.as_str().starts_with(letter))
            .map(|(_, entries)| entries)
            .collect();
        if short.len() < 2 {
            continue;
        }
        for entry in
            short.into_iter().flatten().filter(|entry| now - entry.timestamp >= safety.rewrite_age.as_secs())
        {
            session.rewrite(entry, false).await?;
            count += 1;
            bytes += u64::from(entry.packed_length);
        }
    }
    session.flush().await?;
    Ok((count, bytes))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    id: String,
    checkpoint_time: Timestamp,
}

/// The session a blob belongs to: the first part after the first that begins with `s`.
fn session_of(name: &str) -> Option<&str> {
    name.split('-').skip(1).find(|part| part.starts_with('s'))
}

/// Deletes packs and markers that nothing names, that are old, and that no session owns.
pub async fn delete_orphans(
    contents: &Contents,
    start: Timestamp,
    safety: &SafetyParameters,
) -> Result<Tally, Error> {
    let all = contents.view().all()?;
    let referenced: BTreeSet<&str> = all.values().map(|entry| entry.pack.as_str()).collect();
    let markers = contents.store.list("s").await?;
    let mut active = BTreeSet::new();
    for marker in &markers {
        let corrupt = |detail: &str| Error::CorruptBlob {
            blob: blob::Id::new(marker.id.as_str()),
            detail: detail.to_owned(),
        };
        let bytes = match contents.store.get(&marker.id, None).await {
            Ok(bytes) => bytes,
            Err(vanished) if vanished.kind == crate::store::ErrorKind::NotFound => continue,
            Err(failure) => return Err(failure.into()),
        };
        let identifier = blob_identifier(&marker.id).ok_or_else(|| corrupt("its name holds no hash"))?;
        let plain = contents
            .secrets
            .encryptor
            .decrypt(&identifier, &bytes)
            .map_err(|_| corrupt("authentication failed"))?;
        let parsed: Marker = serde_json::from_slice(&plain).map_err(|error| corrupt(&error.to_string()))?;
        if start.duration_since(parsed.checkpoint_time) < safety.session_age {
            active.insert(parsed.id);
        }
    }
    let mut blobs = contents.store.list("p").await?;
    blobs.extend(contents.store.list("q").await?);
    blobs.extend(markers);
    let (mut count, mut bytes) = (0, 0);
    for blob in blobs {
        let age = start.duration_since(blob.modified);
        let is_owned = session_of(&blob.id).is_some_and(|session| active.contains(session));
        if referenced.contains(blob.id.as_str())
            || is_owned
            || age < safety.pack_age
            || age < SignedDuration::from_secs(-1)
        {
            continue;
        }
        contents.store.delete(&blob.id).await?;
        count += 1;
        bytes += blob.length;
    }
    Ok((count, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_read_from_names() {
        assert_eq!(session_of("p0011-s6988ecdb443e1328147"), Some("s6988ecdb443e1328147"));
        assert_eq!(session_of("s0011-s6988ecdb443e1328147"), Some("s6988ecdb443e1328147"));
        assert_eq!(session_of("xn0_a-s12-c1"), Some("s12"));
        assert_eq!(session_of("p0011"), None);
    }
}
