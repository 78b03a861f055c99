//! Fills volumes from a spec.
//!
//! A tree is a function of its [`TreeSpec`]: same spec, same names, bytes, times and attributes, in every
//! process. It is written past permissions, caches and faults, as data that was there and durable before
//! the story begins. It does not care what a format can carry: odd things are the point. How a tree
//! changes afterwards stands in [`super::work`].
use std::{collections::BTreeMap, io};

use bytes::Bytes;
use engine::tree::{Path, Time};
use scenario::tree::{Special, TreeSpec};

use super::{
    Inode, Node, Tree, Volume,
    content::{BLOCK, Content},
    tree::Number,
};
use crate::cost::mix;

/// The instant around which a generated tree's times lie: 2025-01-01T00:00:00Z.
const SPEC_EPOCH_SECONDS: i64 = 1_735_689_600;

/// A small reproducible stream; not for secrets.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        Self(mix(seed ^ mix(purpose)))
    }
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
    /// Below `end`, which must not be 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A vocabulary of 256 words of eight letters, so that text compresses about as well as logs do.
const WORDS: [[u8; 8]; 256] = {
    const LETTERS: &[u8; 16] = b"etaoin shrdlu\n,.";
    let mut words = [[0; 8]; 256];
    let mut index = 0;
    while index < 256 {
        let mut at = 0;
        while at < 8 {
            let mixed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(11 * at as u32);
            words[index][at] = LETTERS[(mixed >> 40) as usize & 15];
            at += 1;
        }
        index += 1;
    }
    words
};

/// Bytes from a seed: noise, or text.
pub(super) fn bytes(seed: u64, length: u64, noise: bool) -> Bytes {
    let mut chance = Chance::new(seed, 0xb1);
    let mut buffer = Vec::with_capacity(length as usize + 64);
    while (buffer.len() as u64) < length {
        let draw = chance.next().to_le_bytes();
        if noise {
            buffer.extend_from_slice(&draw);
        } else {
            for index in draw {
                buffer.extend_from_slice(&WORDS[usize::from(index)]);
            }
        }
    }
    buffer.truncate(length as usize);
    buffer.into()
}

/// Splits a sum into parts of uneven size that add up exactly.
fn split(sum: u64, parts: usize, chance: &mut Chance) -> Vec<u64> {
    let weights: Vec<u64> = (0..parts).map(|_| 1 + (1 << chance.below(10)) + chance.below(8)).collect();
    let total: u64 = weights.iter().sum();
    let mut sizes: Vec<u64> = weights
        .iter()
        .map(|weight| (u128::from(sum) * u128::from(*weight) / u128::from(total)) as u64)
        .collect();
    let rest = sum - sizes.iter().sum::<u64>();
    if let Some(last) = sizes.last_mut() {
        *last += rest;
    }
    sizes
}

/// One file to be.
struct Plan {
    path: Path,
    size: u64,
    content_seed: u64,
    sparse: bool,
}

struct Filling<'a> {
    spec: &'a TreeSpec,
    base: &'a Path,
    tree: &'a mut Tree,
    chance: Chance,
    owner: (u32, u32),
    made: Vec<Number>,
}

impl Filling<'_> {
    fn has(&self, special: Special) -> bool {
        self.spec.with.contains(&special)
    }
    fn time(&mut self) -> Time {
        let seconds = SPEC_EPOCH_SECONDS + self.chance.below(300 * 86_400).cast_signed();
        Time { seconds, nanoseconds: self.chance.below(1_000_000_000) as u32 }
    }
    fn path(&self, text: &str) -> Path {
        Path::new([self.base.as_bytes(), b"/", text.as_bytes()].concat())
    }
    fn directory(&mut self, path: &Path) -> io::Result<()> {
        if self.tree.resolve(path).is_ok() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.directory(&parent)?;
        }
        let mtime = self.time();
        let inode = Inode::new(Node::Directory(BTreeMap::new()), 0o755, self.owner, mtime);
        let number = self.tree.insert(path, inode)?;
        self.made.push(number);
        Ok(())
    }
    fn insert(&mut self, path: &Path, node: Node, mode: u32) -> io::Result<Number> {
        if let Some(parent) = path.parent() {
            self.directory(&parent)?;
        }
        let mtime = self.time();
        self.tree.insert(path, Inode::new(node, mode, self.owner, mtime))
    }

    fn plans(&mut self) -> Vec<Plan> {
        let count = self.spec.files as usize;
        let noise_seed = self.spec.seed;
        let mut sizes = split(self.spec.size.bytes(), count, &mut self.chance);
        if count > 1 {
            // Shares move between files, so that the sum stays exact.
            let mut take = |from: usize, to: usize, bytes: u64| {
                // Everything only when asked for everything: no file becomes empty by the way.
                let moved = if bytes == u64::MAX { sizes[from] } else { bytes.min(sizes[from] / 2) };
                sizes[from] -= moved;
                sizes[to] += moved;
            };
            if self.has(Special::Database) {
                (1..count).for_each(|from| take(from, 0, self.spec.size.bytes() / 2 / (count as u64 - 1)));
            }
            if self.has(Special::Holes) {
                (0..count)
                    .filter(|from| *from != 1)
                    .for_each(|from| take(from, 1, 12 * BLOCK / (count as u64 - 1) + 1));
            }
            if self.has(Special::EmptyFiles) {
                take(count - 1, 0, u64::MAX);
            }
            if self.has(Special::Duplicates) && count > 4 {
                let half = u64::midpoint(sizes[2], sizes[3]);
                let odd = sizes[2] + sizes[3] - 2 * half;
                (sizes[2], sizes[3]) = (half, half);
                sizes[0] += odd;
            }
        }
        let directories = 1 + count / 12;
        (0..count)
            .map(|index| {
                let paged = self.has(Special::Database) && index == 0;
                let name = match index {
                    _ if paged => "database/main.db".to_owned(),
                    _ if self.has(Special::DeepPaths) && index == count - 1 => {
                        format!(
                            "{}/file-{index:05}.dat",
                            (0..24).map(|n| format!("level-{n:02}")).collect::<Vec<_>>().join("/")
                        )
                    }
                    _ => {
                        let directory = self.chance.below(directories as u64);
                        let nested = if directory % 3 == 2 { "/nested" } else { "" };
                        format!("folder-{directory:03}{nested}/file-{index:05}.dat")
                    }
                };
                let twin = self.has(Special::Duplicates) && count > 4 && index == 3;
                Plan {
                    path: self.path(&name),
                    size: sizes[index],
                    content_seed: mix(noise_seed).wrapping_add(if twin { 2 } else { index as u64 }),
                    sparse: self.has(Special::Holes) && index == 1.min(count - 1),
                }
            })
            .collect()
    }

    fn content(&self, plan: &Plan) -> Content {
        let noise = self.has(Special::Noise);
        if !plan.sparse {
            return Content::from_bytes(bytes(plan.content_seed, plan.size, noise));
        }
        // Holes at the start, in the middle and at the end; data in the second and fourth fifth.
        let mut content = Content::default();
        let fifth = plan.size / 5 / BLOCK * BLOCK;
        for at in [fifth, 3 * fifth] {
            content.write(at, bytes(plan.content_seed ^ at, fifth, noise));
        }
        content.set_len(plan.size);
        content
    }

    fn fill(&mut self) -> io::Result<()> {
        let plans = self.plans();
        let mut files = Vec::new();
        for plan in &plans {
            let content = self.content(plan);
            self.insert(&plan.path, Node::File(std::sync::Arc::new(content)), 0o644)?;
            files.push(plan.path.clone());
        }
        self.name_oddly(&mut files)?;
        self.adorn(&files)?;
        self.add_specials(&files)?;
        self.settle_times()
    }

    fn name_oddly(&mut self, files: &mut [Path]) -> io::Result<()> {
        if !self.has(Special::OddNames) {
            return Ok(());
        }
        let names: [&[u8]; 6] = [
            b"caf\xe9 \xff\xfe.txt",
            b"with space, 'quote', \"double\" and \\back.txt",
            b"new\nline\ttab.txt",
            "sn\u{f6}w\u{2603}man e\u{301}.txt".as_bytes(),
            b"-rf *",
            &[b'n'; 255],
        ];
        for (file, name) in files.iter_mut().rev().zip(names) {
            let to = file.parent().unwrap_or_default().join(name);
            let now = self.time();
            if self.tree.resolve(&to).is_err() {
                self.tree.rename(file, &to, now)?;
                *file = to;
            }
        }
        Ok(())
    }

    /// Attributes of files that are there.
    fn adorn(&mut self, files: &[Path]) -> io::Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let file = |index: usize| &files[index % files.len()];
        let mut edits: Vec<(Path, Edit)> = Vec::new();
        if self.has(Special::Xattrs) {
            let many =
                (0..8).map(|n| (format!("user.key-{n}").into_bytes(), vec![n; 40])).collect::<Vec<_>>();
            edits.push((
                file(0).clone(),
                Edit::Xattrs(vec![(b"user.origin".to_vec(), b"https://example.org/\0raw".to_vec())]),
            ));
            edits.push((file(5).clone(), Edit::Xattrs(many)));
            edits.push((
                file(5).parent().unwrap_or_default(),
                Edit::Xattrs(vec![(b"user.folder".to_vec(), Vec::new())]),
            ));
        }
        if self.has(Special::Acls) {
            // Version 2: owner rw, user 1001 r, group r, mask r, others none.
            let entries: [(u16, u16, u32); 5] =
                [(1, 6, u32::MAX), (2, 4, 1001), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];
            let mut acl = 2u32.to_le_bytes().to_vec();
            for (tag, permission, id) in entries {
                acl.extend(tag.to_le_bytes());
                acl.extend(permission.to_le_bytes());
                acl.extend(id.to_le_bytes());
            }
            edits.push((
                file(1).clone(),
                Edit::Xattrs(vec![(b"system.posix_acl_access".to_vec(), acl.clone())]),
            ));
            let folder = file(1).parent().unwrap_or_default();
            edits.push((folder, Edit::Xattrs(vec![(b"system.posix_acl_default".to_vec(), acl)])));
        }
        if self.has(Special::OddModes) {
            for (index, mode) in [0o4755, 0o2755, 0o000, 0o1644, 0o7777, 0o200].into_iter().enumerate() {
                edits.push((file(index + 6).clone(), Edit::Mode(mode)));
            }
            let folder = self.path("sticky");
            self.directory(&folder)?;
            edits.push((folder, Edit::Mode(0o1777)));
        }
        if self.has(Special::OddTimes) {
            for (index, (seconds, nanoseconds)) in
                [(-86_400, 1), (4_102_444_800, 999_999_999), (0, 0), (1, 123_456_789)].into_iter().enumerate()
            {
                edits.push((file(index + 2).clone(), Edit::Mtime(Time { seconds, nanoseconds })));
            }
        }
        if self.has(Special::ManyOwners) {
            for (index, owner) in
                [(1000, 1000), (568, 100), (65_534, 65_534), (0, 4_294_967_294)].into_iter().enumerate()
            {
                edits.push((file(index + 3).clone(), Edit::Owner(owner)));
            }
        }
        for (path, edit) in edits {
            let number = self.tree.resolve(&path)?;
            self.tree.edit(number, |inode| edit.apply(inode))?;
        }
        Ok(())
    }

    /// Entries beside plain files.
    fn add_specials(&mut self, files: &[Path]) -> io::Result<()> {
        let mut nodes: Vec<(String, Node)> = Vec::new();
        if self.has(Special::Symlinks) {
            let first = files.first().map_or_else(|| b"nothing".to_vec(), |path| path.name().to_vec());
            for (name, target) in [
                ("relative", [b"../", first.as_slice()].concat()),
                ("absolute", b"/etc/hostname".to_vec()),
                ("dangling", b"does/not/exist".to_vec()),
                ("to-folder", b"../folder-000".to_vec()),
                ("raw", b"caf\xe9".to_vec()),
            ] {
                nodes.push((format!("links/{name}"), Node::Symlink(target)));
            }
        }
        if self.has(Special::Devices) {
            nodes.push(("devices/null".into(), Node::CharDevice(1, 3)));
            nodes.push(("devices/disk".into(), Node::BlockDevice(259, 7)));
        }
        if self.has(Special::Pipes) {
            nodes.push(("pipes/fifo".into(), Node::Fifo));
            nodes.push(("pipes/socket".into(), Node::Socket));
        }
        if self.has(Special::EmptyDirectories) {
            nodes.push(("empty".into(), Node::Directory(BTreeMap::new())));
            nodes.push(("empty-too/below".into(), Node::Directory(BTreeMap::new())));
        }
        for (name, node) in nodes {
            let mode = match node {
                Node::Symlink(_) => 0o777,
                Node::Directory(_) => 0o700,
                _ => 0o660,
            };
            let path = self.path(&name);
            self.insert(&path, node, mode)?;
        }
        if self.has(Special::HardLinks) {
            for (index, file) in files.iter().take(3).enumerate() {
                for name in 0..=index {
                    let path = self.path(&format!("hard/link-{index}-{name}"));
                    self.directory(&self.path("hard"))?;
                    let now = self.time();
                    self.tree.link(file, &path, now)?;
                }
            }
        }
        Ok(())
    }

    /// Making entries touched their directories: gives every directory made here a time of its own.
    fn settle_times(&mut self) -> io::Result<()> {
        for number in std::mem::take(&mut self.made) {
            let mtime = self.time();
            self.tree.edit(number, |inode| inode.mtime = mtime)?;
        }
        let (uid, gid) = self.owner;
        let base = self.tree.resolve(self.base)?;
        if self.spec.owner.is_some() {
            self.tree.edit(base, |inode| (inode.uid, inode.gid) = (uid, gid))?;
        }
        Ok(())
    }
}

enum Edit {
    Xattrs(Vec<(Vec<u8>, Vec<u8>)>),
    Mode(u32),
    Mtime(Time),
    Owner((u32, u32)),
}

impl Edit {
    fn apply(self, inode: &mut Inode) {
        match self {
            Self::Xattrs(pairs) => inode.xattrs.extend(pairs),
            Self::Mode(mode) => inode.mode = mode,
            Self::Mtime(mtime) => inode.mtime = mtime,
            Self::Owner(owner) => (inode.uid, inode.gid) = owner,
        }
    }
}

impl Volume {
    /// Fills the volume from a spec, beside what is there.
    ///
    /// # Errors
    /// EEXIST when the spec was filled in before, ENOSPC or EDQUOT when it does not fit.
    pub fn populate(&self, spec: &TreeSpec) -> io::Result<()> {
        self.populate_at(&Path::root(), spec)
    }
    /// As [`Volume::populate`], below a directory, which is made if needed.
    pub fn populate_at(&self, base: &Path, spec: &TreeSpec) -> io::Result<()> {
        self.edit(|tree, _| {
            let owner = spec.owner.as_ref().map_or((0, 0), |owner| (owner.uid, owner.gid));
            let mut filling =
                Filling { spec, base, tree, chance: Chance::new(spec.seed, 0xf1), owner, made: Vec::new() };
            filling.directory(base)?;
            filling.fill()
        })
    }
}
