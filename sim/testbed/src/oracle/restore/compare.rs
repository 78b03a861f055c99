//! The comparison itself: pairs paths, looks at each attribute, sorts what differs from what is declared.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use engine::tree::{Kind, Path, Time};

use super::{Attribute, Carries, Found, Loss, ReadBack, Report};
use crate::ledger::{Attributes, Entry};

/// Compares what was read back with what the bed wrote.
pub fn compare(expected: &Entry, found: &ReadBack, carries: Carries) -> Report {
    let mut comparison =
        Comparison { expected, found, carries, report: Report::default(), pairs: BTreeMap::new() };
    comparison.pair();
    comparison.attributes();
    comparison.links();
    comparison.extra();
    // In order of path, whatever the order of the passes.
    comparison.report.differences.sort_by(|a, b| (&a.path, a.attribute).cmp(&(&b.path, b.attribute)));
    comparison.report
}

struct Comparison<'a> {
    expected: &'a Entry,
    found: &'a ReadBack,
    carries: Carries,
    report: Report,
    /// Expected path to the path it was found under.
    pairs: BTreeMap<&'a Path, Path>,
}

impl Comparison<'_> {
    fn pair(&mut self) {
        let (expected, found) = (self.expected, self.found);
        for (path, attributes) in expected.paths.iter() {
            if found.paths.contains_key(path) {
                self.pairs.insert(path, path.clone());
            } else if let Some(reason) = found.unreadable.get(path) {
                self.report.differ(path, Attribute::Unreadable, "a readable path", reason.as_str());
            } else if let Some(replaced) = self.replaced(path) {
                if self.carries.raw_names {
                    let (wrote, read) =
                        (format!("{:02x?}", path.name()), format!("{:02x?}", replaced.name()));
                    self.report.differ(path, Attribute::RawNames, wrote, read);
                } else {
                    self.report.lose(path, Loss::RawNames);
                }
                self.pairs.insert(path, replaced);
            } else {
                self.absent(path, attributes);
            }
        }
    }
    fn absent(&mut self, path: &Path, attributes: &Attributes) {
        let unreadable_above = std::iter::successors(path.parent(), Path::parent)
            .any(|above| self.found.unreadable.contains_key(&above));
        if unreadable_above {
            self.report.differ(
                path,
                Attribute::Unreadable,
                "a readable path",
                "a directory above it is unreadable",
            );
        } else if is_special(attributes.kind) {
            if self.carries.special_files {
                self.report.differ(path, Attribute::SpecialFiles, kind(attributes.kind), "nothing");
            } else {
                self.report.lose(path, Loss::SpecialFiles);
            }
        } else if std::str::from_utf8(path.as_bytes()).is_err() && !self.carries.raw_names {
            self.report.lose(path, Loss::RawNames);
        } else {
            self.report.differ(path, Attribute::Missing, kind(attributes.kind), "nothing");
        }
    }
    /// The path under which a name that is no UTF-8 may have come back: each invalid byte, or each invalid
    /// sequence, replaced.
    fn replaced(&self, path: &Path) -> Option<Path> {
        if std::str::from_utf8(path.as_bytes()).is_ok() {
            return None;
        }
        [by_byte(path.as_bytes()), String::from_utf8_lossy(path.as_bytes()).into_owned()]
            .into_iter()
            .map(Path::new)
            .find(|other| self.found.paths.contains_key(other) && !self.expected.paths.contains_key(other))
    }

    fn attributes(&mut self) {
        let (entry, found) = (self.expected, self.found);
        self.report.paths = entry.paths.len() as u64;
        for (path, at) in std::mem::take(&mut self.pairs) {
            let (expected, found) = (&entry.paths[path], &found.paths[&at]);
            self.attributes_of(path, expected, found);
            self.pairs.insert(path, at);
        }
    }
    fn attributes_of(&mut self, path: &Path, expected: &Attributes, found: &Found) {
        let Found { attributes: read, is_all_zero } = found;
        if expected.kind != read.kind {
            let special = is_special(expected.kind) || is_special(read.kind);
            let what = if special { Attribute::SpecialFiles } else { Attribute::Type };
            self.report.differ(path, what, kind(expected.kind), kind(read.kind));
            return;
        }
        if expected.kind == Kind::File {
            self.report.files += 1;
            self.report.bytes += expected.size;
            if expected.sha256 == read.sha256 && expected.size == read.size {
                self.holes(path, expected, read);
            } else {
                let zeros = if *is_all_zero { ", all zeros" } else { "" };
                self.report.differ(
                    path,
                    Attribute::Bytes,
                    bytes(expected),
                    format!("{}{zeros}", bytes(read)),
                );
            }
        }
        if expected.target != read.target {
            self.report.differ(
                path,
                Attribute::Target,
                text(expected.target.as_deref()),
                text(read.target.as_deref()),
            );
        }
        let octal = |mode: u32| format!("{mode:04o}");
        if expected.kind != Kind::Symlink {
            self.plain(path, Attribute::Mode, expected.mode, read.mode, octal);
        }
        self.plain(path, Attribute::Uid, expected.uid, read.uid, |uid| uid.to_string());
        self.plain(path, Attribute::Gid, expected.gid, read.gid, |gid| gid.to_string());
        self.mtime(path, expected, read);
        self.named(
            path,
            (Attribute::Xattrs, Loss::Xattrs, self.carries.xattrs),
            &expected.xattrs,
            &read.xattrs,
        );
        self.named(path, (Attribute::Acls, Loss::Acls, self.carries.acls), &expected.acls, &read.acls);
    }
    fn plain(
        &mut self,
        path: &Path,
        what: Attribute,
        expected: u32,
        found: u32,
        show: impl Fn(u32) -> String,
    ) {
        if expected == found {
        } else if path.is_root() && !self.carries.mount_point {
            self.report.lose(path, Loss::MountPoint);
        } else {
            self.report.differ(path, what, show(expected), show(found));
        }
    }
    fn holes(&mut self, path: &Path, expected: &Attributes, found: &Attributes) {
        if expected.holes == found.holes {
        } else if self.carries.holes {
            self.report.differ(path, Attribute::Holes, ranges(&expected.holes), ranges(&found.holes));
        } else {
            self.report.lose(path, Loss::Holes);
        }
    }
    fn mtime(&mut self, path: &Path, expected: &Attributes, found: &Attributes) {
        let (wrote, read) = (expected.mtime, found.mtime);
        if wrote == read {
            return;
        }
        let directory = expected.kind == Kind::Directory;
        let below_microsecond = (wrote.as_nanos() - read.as_nanos()).abs() < 1000;
        if path.is_root() && !self.carries.mount_point {
            self.report.lose(path, Loss::MountPoint);
        } else if i64::try_from(wrote.as_nanos()).is_err() && !self.carries.far_times {
            self.report.lose(path, Loss::FarTimes);
        } else if directory
            && !path.is_root()
            && !self.carries.directory_mtimes
            && self.newest(path).contains(&read)
        {
            self.report.lose(path, Loss::DirectoryMtimes);
        } else if expected.kind == Kind::Symlink && !self.carries.symlink_nanoseconds && below_microsecond {
            self.report.lose(path, Loss::SymlinkMtimes);
        } else {
            let what = if directory { Attribute::DirectoryMtimes } else { Attribute::Mtime };
            self.report.differ(path, what, show_time(wrote), show_time(read));
        }
    }
    /// The times a directory may carry instead of its own: the newest beneath it, sub-directories' own
    /// times among them, never before 1970;
    /// counted with and without what the format may have left out for its name.
    fn newest(&self, directory: &Path) -> [Time; 2] {
        [true, false].map(|raw| self.newest_beneath(directory, raw).max(Time::default()))
    }
    fn newest_beneath(&self, directory: &Path, with_raw_names: bool) -> Time {
        let prefix = [directory.as_bytes(), b"/"].concat();
        let own = self.expected.paths[directory].mtime;
        let beneath = self
            .expected
            .paths
            .range(Path::new(&prefix)..)
            .skip_while(|(path, _)| *path == directory)
            .take_while(|(path, _)| path.as_bytes().starts_with(directory.as_bytes()))
            .filter(|(path, _)| path.as_bytes().starts_with(&prefix))
            .filter(|(path, _)| with_raw_names || std::str::from_utf8(path.as_bytes()).is_ok())
            .filter(|(_, attributes)| !is_special(attributes.kind));
        beneath.map(|(_, attributes)| attributes.mtime).max().unwrap_or(own)
    }
    fn named(
        &mut self,
        path: &Path,
        (what, loss, carried): (Attribute, Loss, bool),
        expected: &BTreeMap<Vec<u8>, Vec<u8>>,
        found: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) {
        let only_fewer = found.iter().all(|(name, value)| expected.get(name) == Some(value));
        if expected == found {
        } else if only_fewer && !carried {
            self.report.lose(path, loss);
        } else {
            let show = |pairs: &BTreeMap<Vec<u8>, Vec<u8>>| {
                let names: Vec<_> = pairs
                    .iter()
                    .map(|(name, value)| format!("{} ({} bytes)", String::from_utf8_lossy(name), value.len()))
                    .collect();
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            };
            self.report.differ(path, what, show(expected), show(found));
        }
    }

    fn links(&mut self) {
        let mut wanted = BTreeSet::new();
        let linked: BTreeSet<&Path> = self.found.links.iter().flatten().collect();
        for class in self.expected.links.iter() {
            let mut class: Vec<Path> =
                class.iter().filter_map(|path| self.pairs.get(path).cloned()).collect();
            class.sort();
            if class.len() < 2 || self.found.links.contains(&class) {
                wanted.insert(class);
            } else if !self.carries.hard_links && !class.iter().any(|path| linked.contains(path)) {
                self.report.lose(&class[0], Loss::HardLinks);
            } else {
                self.report.differ(
                    &class[0],
                    Attribute::HardLinks,
                    names(&class),
                    "other names for the same files",
                );
            }
        }
        let found = self.found;
        for class in found.links.difference(&wanted) {
            self.report.differ(&class[0], Attribute::HardLinks, "separate files", names(class));
        }
    }
    fn extra(&mut self) {
        let found = self.found;
        let paired: BTreeSet<&Path> = self.pairs.values().collect();
        let extra: Vec<_> = found.paths.iter().filter(|(path, _)| !paired.contains(path)).collect();
        for (path, found) in extra {
            self.report.differ(path, Attribute::Extra, "nothing", kind(found.attributes.kind));
        }
    }
}

fn is_special(kind: Kind) -> bool {
    !matches!(kind, Kind::File | Kind::Directory | Kind::Symlink)
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::File => "a file".to_owned(),
        Kind::Directory => "a directory".to_owned(),
        Kind::Symlink => "a symlink".to_owned(),
        Kind::Fifo => "a pipe".to_owned(),
        Kind::Socket => "a socket".to_owned(),
        Kind::CharDevice(major, minor) => format!("character device {major}:{minor}"),
        Kind::BlockDevice(major, minor) => format!("block device {major}:{minor}"),
    }
}

fn bytes(attributes: &Attributes) -> String {
    let digest = attributes.sha256.map(hex::encode).unwrap_or_default();
    format!("{} bytes, sha256 {}", attributes.size, &digest[..digest.len().min(16)])
}

fn text(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "nothing".to_owned(), |bytes| format!("{:?}", String::from_utf8_lossy(bytes)))
}

fn ranges(ranges: &[Range<u64>]) -> String {
    let shown: Vec<_> =
        ranges.iter().take(4).map(|range| format!("{}..{}", range.start, range.end)).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

fn names(class: &[Path]) -> String {
    class.iter().map(ToString::to_string).collect::<Vec<_>>().join(" = ")
}

fn show_time(time: Time) -> String {
    format!("{}.{:09}", time.seconds, time.nanoseconds)
}

/// Each byte that is not part of valid UTF-8 becomes U+FFFD, as Go's JSON does.
fn by_byte(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    text
}
