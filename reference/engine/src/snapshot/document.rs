//! Snapshots and directories as JSON, byte for byte as Kopia writes them.
//!
//! Here, and only here, modes are Go's bits and times are text. Reading is lenient where Kopia is; writing
//! keeps Kopia's field order, omissions and escapes, because equal directories must have equal names.

#![expect(clippy::cast_possible_wrap, reason = "sizes and counts stay far below 2^63")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Entry, EntryKind, Snapshot, Source, Stats, Summary};
use crate::{error::Error, manifest::Manifest, object, tree::Time};

const GO_SETUID: u32 = 1 << 23;
const GO_SETGID: u32 = 1 << 22;
const GO_STICKY: u32 = 1 << 20;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SummaryDocument {
    size: i64,
    files: i64,
    symlinks: i64,
    dirs: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    incomplete: String,
    num_failed: i64,
    #[serde(skip_serializing_if = "is_zero")]
    num_ignored_errors: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<ErrorDocument>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct ErrorDocument {
    path: String,
    error: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct EntryDocument {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    mode: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    size: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtime: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_zero_u32")]
    uid: u32,
    #[serde(default, skip_serializing_if = "is_zero_u32")]
    gid: u32,
    #[serde(default)]
    obj: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    summ: Option<SummaryDocument>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DirectoryDocument {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    entries: Option<Vec<EntryDocument>>,
    #[serde(default)]
    summary: Option<SummaryDocument>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct SourceDocument {
    host: String,
    #[serde(rename = "userName")]
    username: String,
    path: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatsDocument {
    total_size: i64,
    excluded_total_size: i64,
    file_count: i64,
    cached_files: i64,
    non_cached_files: i64,
    dir_count: i64,
    excluded_file_count: i64,
    excluded_dir_count: i64,
    ignored_error_count: i64,
    error_count: i64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotDocument {
    #[serde(default)]
    id: String,
    source: SourceDocument,
    #[serde(default)]
    description: String,
    #[serde(default)]
    start_time: Timestamp,
    #[serde(default)]
    end_time: Timestamp,
    #[serde(default)]
    stats: StatsDocument,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    incomplete: String,
    root_entry: Option<EntryDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pins: Option<Vec<String>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero_u32(value: &u32) -> bool {
    *value == 0
}

/// The text of a mode: octal with a leading zero, Go's bits; empty for 0.
fn mode_text(mode: u32) -> String {
    let special = [(0o4000, GO_SETUID), (0o2000, GO_SETGID), (0o1000, GO_STICKY)];
    let go =
        special.iter().filter(|(posix, _)| mode & posix != 0).fold(mode & 0o777, |bits, (_, go)| bits | go);
    if go == 0 { String::new() } else { format!("0{go:o}") }
}

/// POSIX bits from the text of a mode.
fn parse_mode(text: &str) -> Option<u32> {
    if text.is_empty() {
        return Some(0);
    }
    let go = match text.strip_prefix('0') {
        Some("") => 0,
        Some(digits) => u32::from_str_radix(digits.trim_start_matches('o'), 8).ok()?,
        None => text.parse().ok()?,
    };
    let special = [(0o4000, GO_SETUID), (0o2000, GO_SETGID), (0o1000, GO_STICKY)];
    Some(special.iter().filter(|(_, bit)| go & bit != 0).fold(go & 0o777, |bits, (posix, _)| bits | posix))
}

/// The times that the format can hold: nanoseconds since 1970 in 64 bits.
pub fn storable(time: Time) -> Time {
    Time::from_nanos(time.as_nanos().clamp(i128::from(i64::MIN), i128::from(i64::MAX)))
}

fn timestamp(time: Time) -> Timestamp {
    Timestamp::from_nanosecond(storable(time).as_nanos())
        .expect("64 bits of nanoseconds are within what a timestamp holds")
}

fn time(timestamp: Timestamp) -> Time {
    Time::from_nanos(timestamp.as_nanosecond())
}

fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

impl From<&Summary> for SummaryDocument {
    fn from(summary: &Summary) -> Self {
        let errors = summary
            .errors
            .iter()
            .map(|(path, error)| ErrorDocument { path: path.clone(), error: error.clone() });
        Self {
            size: summary.size as i64,
            files: summary.files as i64,
            symlinks: summary.symlinks as i64,
            dirs: summary.dirs as i64,
            max_time: Some(timestamp(summary.max_time)),
            incomplete: summary.incomplete.clone().unwrap_or_default(),
            num_failed: summary.failed as i64,
            num_ignored_errors: summary.ignored as i64,
            errors: (!summary.errors.is_empty()).then(|| errors.collect()),
        }
    }
}

impl From<SummaryDocument> for Summary {
    fn from(document: SummaryDocument) -> Self {
        Self {
            size: count(document.size),
            files: count(document.files),
            symlinks: count(document.symlinks),
            dirs: count(document.dirs),
            max_time: document.max_time.map(time).unwrap_or_default(),
            incomplete: Some(document.incomplete).filter(|reason| !reason.is_empty()),
            failed: count(document.num_failed),
            ignored: count(document.num_ignored_errors),
            errors: document
                .errors
                .unwrap_or_default()
                .into_iter()
                .map(|error| (error.path, error.error))
                .collect(),
        }
    }
}

impl From<&Entry> for EntryDocument {
    fn from(entry: &Entry) -> Self {
        let kind = match entry.kind {
            EntryKind::File => "f",
            EntryKind::Directory => "d",
            EntryKind::Symlink => "s",
            EntryKind::Unknown => "",
        };
        Self {
            name: entry.name.clone(),
            kind: kind.to_owned(),
            mode: mode_text(entry.mode),
            size: entry.size as i64,
            mtime: (entry.mtime != Time::default()).then(|| timestamp(entry.mtime)),
            uid: entry.uid,
            gid: entry.gid,
            obj: entry.object.to_string(),
            summ: entry.summary.as_ref().map(SummaryDocument::from),
        }
    }
}

impl TryFrom<EntryDocument> for Entry {
    type Error = String;
    fn try_from(document: EntryDocument) -> Result<Self, String> {
        let kind = match document.kind.as_str() {
            "f" => EntryKind::File,
            "d" => EntryKind::Directory,
            "s" => EntryKind::Symlink,
            _ => EntryKind::Unknown,
        };
        let mode = parse_mode(&document.mode).ok_or_else(|| format!("{:?} is no mode", document.mode))?;
        Ok(Self {
            kind,
            mode,
            size: count(document.size),
            mtime: document.mtime.map(time).unwrap_or_default(),
            uid: document.uid,
            gid: document.gid,
            object: document.obj.parse().map_err(|error: object::id::Malformed| error.to_string())?,
            summary: document.summ.map(Summary::from),
            name: document.name,
        })
    }
}

/// Serialises as Go does: `&`, `<`, `>` and the two line separators are escaped.
fn go_json(value: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_string(value).expect("plain data serialises");
    let mut escaped = String::with_capacity(text.len() + 1);
    // These characters occur within strings only, so escaping them anywhere is escaping them there.
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("\\u0026"),
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            _ => escaped.push(character),
        }
    }
    escaped.push('\n');
    escaped.into_bytes()
}

/// A directory stream: entries (sorted here: directories first, then by name) and their summary.
pub fn write_directory(entries: &mut [Entry], summary: &Summary) -> Vec<u8> {
    entries.sort_by(|a, b| {
        let rank = |entry: &Entry| (entry.kind != EntryKind::Directory, entry.name.as_bytes().to_vec());
        rank(a).cmp(&rank(b))
    });
    let document = DirectoryDocument {
        stream: "kopia:directory".to_owned(),
        entries: (!entries.is_empty()).then(|| entries.iter().map(EntryDocument::from).collect()),
        summary: Some(summary.into()),
    };
    go_json(&document)
}

/// Reads a directory stream. Of entries with the same name the last one counts.
pub fn read_directory(object: object::Id, bytes: &[u8]) -> Result<(Vec<Entry>, Option<Summary>), Error> {
    let corrupt = |detail: String| Error::CorruptObject { object, detail };
    let document: DirectoryDocument =
        serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
    if document.stream != "kopia:directory" {
        return Err(corrupt(format!("it is a {:?}, not a directory", document.stream)));
    }
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for entry in document.entries.unwrap_or_default() {
        let entry = Entry::try_from(entry).map_err(corrupt)?;
        if entry.name.is_empty() || entry.name.contains('/') || entry.name == "." || entry.name == ".." {
            return Err(corrupt(format!("{:?} is no name", entry.name)));
        }
        entries.insert(entry.name.clone(), entry);
    }
    Ok((entries.into_values().collect(), document.summary.map(Summary::from)))
}

/// The payload of a snapshot manifest.
pub fn write_snapshot(snapshot: &Snapshot) -> Value {
    let stats = &snapshot.stats;
    let document = SnapshotDocument {
        id: String::new(),
        source: SourceDocument {
            host: snapshot.source.host.clone(),
            username: snapshot.source.username.clone(),
            path: snapshot.source.path.clone(),
        },
        description: snapshot.description.clone(),
        start_time: snapshot.start_time,
        end_time: snapshot.end_time,
        stats: StatsDocument {
            total_size: stats.total_size as i64,
            file_count: stats.files as i64,
            cached_files: stats.files_cached as i64,
            non_cached_files: stats.files_hashed as i64,
            dir_count: stats.directories as i64,
            ignored_error_count: stats.errors_ignored as i64,
            error_count: stats.errors as i64,
            ..StatsDocument::default()
        },
        incomplete: snapshot.incomplete.clone().unwrap_or_default(),
        root_entry: Some((&snapshot.root).into()),
        tags: (!snapshot.tags.is_empty()).then(|| snapshot.tags.clone()),
        pins: (!snapshot.pins.is_empty()).then(|| snapshot.pins.clone()),
    };
    serde_json::to_value(document).expect("plain data serialises")
}

/// Reads a snapshot manifest.
pub fn read_snapshot(manifest: &Manifest) -> Result<Snapshot, Error> {
    let corrupt =
        |detail: String| Error::CorruptManifest { place: format!("manifest {}", manifest.id), detail };
    let document =
        SnapshotDocument::deserialize(manifest.data()).map_err(|error| corrupt(error.to_string()))?;
    let root = document.root_entry.ok_or_else(|| corrupt("it has no root entry".to_owned()))?;
    Ok(Snapshot {
        id: manifest.id.clone(),
        source: Source {
            username: document.source.username,
            host: document.source.host,
            path: document.source.path,
        },
        description: document.description,
        start_time: document.start_time,
        end_time: document.end_time,
        stats: Stats {
            total_size: count(document.stats.total_size),
            files: count(document.stats.file_count),
            files_cached: count(document.stats.cached_files),
            files_hashed: count(document.stats.non_cached_files),
            directories: count(document.stats.dir_count),
            errors: count(document.stats.error_count),
            errors_ignored: count(document.stats.ignored_error_count),
        },
        incomplete: Some(document.incomplete).filter(|reason| !reason.is_empty()),
        root: Entry::try_from(root).map_err(corrupt)?,
        tags: document.tags.unwrap_or_default(),
        pins: document.pins.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_of_gos_bits() {
        for (posix, text) in [
            (0o755, "0755"),
            (0o4755, "040000755"),
            (0o2755, "020000755"),
            (0o1777, "04000777"),
            (0o7777, "064000777"),
            (0, ""),
            (0o7, "07"),
        ] {
            assert_eq!(mode_text(posix), text);
            assert_eq!(parse_mode(text), Some(posix));
        }
        // Without the leading zero Go reads decimal.
        assert_eq!(parse_mode("755"), Some(0o363));
        assert_eq!(parse_mode("rwx"), None);
    }

    #[test]
    fn directories_are_written_as_kopia_does() {
        let file = Entry {
            name: "a<b>&\u{2028}\u{1}".to_owned(),
            kind: EntryKind::File,
            mode: 0o644,
            size: 3,
            mtime: Time { seconds: 1, nanoseconds: 500_000_000 },
            uid: 0,
            gid: 7,
            object: "0011".parse().unwrap(),
            summary: None,
        };
        let directory = Entry { name: "z".to_owned(), kind: EntryKind::Directory, size: 0, ..file.clone() };
        let summary = Summary { size: 3, files: 1, dirs: 1, ..Summary::default() };
        let bytes = write_directory(&mut [file, directory], &summary);
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            concat!(
                r#"{"stream":"kopia:directory","entries":[{"name":"z","type":"d","mode":"0644","mtime":"1970-01-01T00:00:01.5Z","gid":7,"obj":"0011"},"#,
                r#"{"name":"a\u003cb\u003e\u0026\u2028\u0001","type":"f","mode":"0644","size":3,"mtime":"1970-01-01T00:00:01.5Z","gid":7,"obj":"0011"}],"#,
                r#""summary":{"size":3,"files":1,"symlinks":0,"dirs":1,"maxTime":"1970-01-01T00:00:00Z","numFailed":0}}"#,
                "\n"
            )
        );
        let (entries, read) = read_directory("k00".parse().unwrap(), &bytes).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(read, Some(summary));
        let empty = write_directory(&mut [], &Summary::default());
        assert!(String::from_utf8(empty).unwrap().contains(r#""entries":null"#));
    }

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for name in ["..", "a/b", "", "."] {
            let text = format!(
                r#"{{"stream":"kopia:directory","entries":[{{"name":"{name}","type":"f","obj":"00"}}]}}"#
            );
            assert!(read_directory("k00".parse().unwrap(), text.as_bytes()).is_err(), "{name:?}");
        }
    }
}
