//! Tables for the choice of a snapshot and for likeness.
use engine::{
    snapshot::{Entry, EntryKind, Source, Stats},
    tree::Time,
};
use jiff::Timestamp;

use super::*;

fn snapshot(id: &str, source: &str, start: &str, incomplete: Option<&str>) -> Snapshot {
    let identity: Identity = source.parse().expect("an identity");
    let start_time: Timestamp = start.parse().expect("a time");
    Snapshot {
        id: engine::manifest::Id::new(id),
        source: Source::new(identity.username, identity.hostname, identity.path),
        description: String::new(),
        start_time,
        end_time: start_time,
        stats: Stats::default(),
        incomplete: incomplete.map(str::to_owned),
        root: Entry {
            name: "data".into(),
            kind: EntryKind::Directory,
            mode: 0o755,
            size: 0,
            mtime: Time::default(),
            uid: 0,
            gid: 0,
            object: format!("k{}", "0".repeat(32)).parse().expect("an object id"),
            summary: None,
        },
        tags: BTreeMap::new(),
        pins: Vec::new(),
    }
}

fn app(incomplete_newest: bool) -> Vec<Snapshot> {
    vec![
        snapshot("one", "app@media:/data", "2026-01-01T03:00:00Z", None),
        snapshot("two", "app@media:/data", "2026-01-02T03:00:05.123Z", None),
        snapshot(
            "three",
            "app@media:/data",
            "2026-01-03T03:00:00Z",
            incomplete_newest.then_some("checkpoint"),
        ),
        snapshot("other", "db@media:/data", "2026-01-04T03:00:00Z", None),
    ]
}

fn chosen(snapshots: &[Snapshot], task: &Restore, profile: Profile) -> String {
    let wanted = Identity::new("app", "media", "/data");
    match choose(snapshots, &wanted, task, profile) {
        Choice::Snapshot(snapshot) => snapshot.id.to_string(),
        Choice::Null => "null".into(),
        Choice::Nothing => "nothing".into(),
    }
}

#[test]
fn the_safe_choice_compares_instants_and_skips_incomplete_ones() {
    let check = |as_of: Option<&str>, previous: Option<i32>, expected: &str| {
        let task = Restore { as_of: as_of.map(str::to_owned), previous, ..Restore::default() };
        assert_eq!(chosen(&app(true), &task, Profile::Safe), expected, "{as_of:?} {previous:?}");
    };
    check(None, None, "two");
    check(None, Some(1), "one");
    check(None, Some(2), "nothing");
    check(Some("2026-01-02T00:00:00Z"), None, "one");
    check(Some("2026-01-02T05:00:06+02:00"), None, "two");
    check(Some("2026-01-02T03:00:06+02:00"), None, "one");
    check(Some("2025-01-01T00:00:00Z"), None, "nothing");
    check(Some("2026-01-09T00:00:00Z"), Some(1), "one");
}

#[test]
fn the_original_compares_texts_and_takes_incomplete_ones() {
    let check = |as_of: Option<&str>, previous: Option<i32>, shallow: Option<i32>, expected: &str| {
        let task = Restore { as_of: as_of.map(str::to_owned), previous, shallow, ..Restore::default() };
        assert_eq!(
            chosen(&app(true), &task, Profile::Original),
            expected,
            "{as_of:?} {previous:?} {shallow:?}"
        );
    };
    check(None, None, None, "three");
    check(None, Some(2), None, "one");
    check(None, Some(3), None, "null");
    check(None, Some(3), Some(2), "nothing");
    check(None, None, Some(0), "nothing");
    check(None, None, Some(1), "three");
    // Local digits of the offset are compared as they stand.
    check(Some("2026-01-02T05:00:00+02:00"), None, None, "two");
    check(Some("2026-01-02T03:00:05Z"), None, None, "two");
}

#[test]
fn the_same_app_is_known_again() {
    let wanted = Identity::new("radarr", "media", "/data");
    let check = |found: &str, expected: bool| {
        assert_eq!(is_alike(&found.parse().expect("an identity"), &wanted), expected, "{found}");
    };
    check("radarr@downloads:/data", true);
    check("radarr@media:/config", true);
    check("Radarr@media:/data", true);
    check("radarr-dst@media:/data", true);
    check("volsync-radarr@media:/data", true);
    check("radarr-nfs-dst@media:/data", true);
    check("root@volsync-src-radarr-x7k2p:/data", true);
    check("readarr@media:/data", false);
    check("sonarr@media:/data", false);
    check("radarr2@media:/data", false);
    check("radarr-db@media:/data", false);
    check("root@volsync-src-sonarr-x7k2p:/data", false);
}

#[test]
fn likeness_is_symmetric_and_keeps_names_that_are_only_role_words() {
    let check = |a: &str, b: &str, expected: bool| {
        let (a, b) = (Identity::new(a, "x", "/data"), Identity::new(b, "y", "/data"));
        assert_eq!((is_alike(&a, &b), is_alike(&b, &a)), (expected, expected), "{a} {b}");
    };
    check("app-dst", "app", true);
    check("home_assistant", "home-assistant", true);
    check("minio", "kopia", false);
    check("minio", "minio-dst", true);
}

#[test]
fn candidates_are_counted_per_line_newest_first() {
    let snapshots = app(true);
    let found = lines(&snapshots);
    let names: Vec<String> =
        found.iter().map(|line| format!("{} {}", line.identity, line.snapshots)).collect();
    assert_eq!(names, ["db@media:/data 1", "app@media:/data 2"]);
}
