//! Changes volumes as a workload would.
//!
//! A change is a function of the tree, its own seed and the present time, and written like
//! [`super::generate`] writes: past permissions, caches and faults, durable at once. What gets new bytes gets
//! a new modification time. It does not touch special files, attributes or symlinks.
use std::{collections::BTreeMap, io};

use engine::tree::{Path, Time};
use scenario::tree::ChangeSpec;

use super::{
    Inode, Node, Tree, Volume,
    content::{BLOCK, Content},
    generate::{Chance, bytes},
    tree::ROOT,
};
use crate::cost::mix;

/// A file from this size on is changed page by page, as a database is.
const PAGED_BYTES_MIN: u64 = 256 * 1024;

impl Volume {
    /// Changes the tree as the spec says, at the present time.
    pub fn change(&self, spec: &ChangeSpec) -> io::Result<()> {
        self.edit(|tree, now| Working::new(tree, now, spec.seed).change(spec))
    }
    /// Changes a share of the tree as a workload does in an hour: writes, page writes, appends, new files
    /// and directories, renames, chmods, deletes. At least one file is written if there is one.
    pub fn work(&self, seed: u64, percent: u8) -> io::Result<()> {
        self.edit(|tree, now| Working::new(tree, now, seed).work(percent))
    }
}

/// A workload at one instant.
struct Working<'a> {
    tree: &'a mut Tree,
    now: Time,
    chance: Chance,
    files: Vec<Path>,
}

impl<'a> Working<'a> {
    fn new(tree: &'a mut Tree, now: Time, seed: u64) -> Self {
        let mut files = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut waiting = vec![(Path::root(), ROOT)];
        while let Some((path, number)) = waiting.pop() {
            let Ok(inode) = tree.inode(number) else { continue };
            match &inode.node {
                Node::Directory(names) => {
                    waiting.extend(names.iter().rev().map(|(name, number)| (path.join(name), *number)));
                }
                Node::File(_) if seen.insert(number) => files.push(path),
                _ => {}
            }
        }
        Self { tree, now, chance: Chance::new(seed, 0xc4), files }
    }
    /// The present time with nanoseconds of its own within the clock's millisecond.
    fn time(&mut self) -> Time {
        Time::from_nanos(self.now.as_nanos() + i128::from(self.chance.below(1_000_000)))
    }
    fn pick(&mut self) -> Option<usize> {
        (!self.files.is_empty()).then(|| self.chance.below(self.files.len() as u64) as usize)
    }
    fn write(&mut self, path: &Path) -> io::Result<()> {
        let (mtime, seed, roll) = (self.time(), self.chance.next(), self.chance.below(100));
        let number = self.tree.resolve(path)?;
        self.tree.edit(number, |inode| {
            inode.mtime = mtime;
            let Node::File(content) = &mut inode.node else { return };
            let content = std::sync::Arc::make_mut(content);
            let length = content.len();
            if length >= PAGED_BYTES_MIN {
                for page in 0..=length / PAGED_BYTES_MIN / 4 {
                    let at = mix(seed ^ page) % (length / BLOCK) * BLOCK;
                    content.write(at, bytes(seed ^ page, BLOCK, true));
                }
            } else {
                // Three quarters to five quarters of what it was.
                let length = (length * (75 + roll / 2) / 100).max(1);
                content.set_len(0);
                content.write(0, bytes(seed, length, false));
            }
        })
    }
    fn append(&mut self, path: &Path) -> io::Result<()> {
        let (mtime, seed) = (self.time(), self.chance.next());
        let number = self.tree.resolve(path)?;
        self.tree.edit(number, |inode| {
            inode.mtime = mtime;
            if let Node::File(content) = &mut inode.node {
                let content = std::sync::Arc::make_mut(content);
                content.write(content.len(), bytes(seed, 1 + seed % 500, false));
            }
        })
    }
    fn add(&mut self) -> io::Result<()> {
        let (serial, seed, mtime) = (self.chance.next(), self.chance.next(), self.time());
        let neighbour = self.pick().map(|index| self.files[index].clone());
        let (owner, length) = match &neighbour {
            Some(path) => {
                let inode = self.tree.inode(self.tree.resolve(path)?)?;
                let Node::File(content) = &inode.node else { unreachable!("only files are listed") };
                ((inode.uid, inode.gid), content.len().clamp(1, PAGED_BYTES_MIN))
            }
            None => ((0, 0), 1000),
        };
        let parent = neighbour.and_then(|path| path.parent()).unwrap_or_default();
        let path = parent.join(format!("new-{serial:016x}.dat").as_bytes());
        let content = Content::from_bytes(bytes(seed, length, false));
        self.tree.insert(&path, Inode::new(Node::File(content.into()), 0o644, owner, mtime))?;
        self.files.push(path);
        Ok(())
    }
    fn remove(&mut self) -> io::Result<()> {
        let Some(index) = self.pick() else { return Ok(()) };
        let path = self.files.swap_remove(index);
        let mtime = self.time();
        self.tree.remove(&path, mtime).map(drop)
    }
    fn change(mut self, spec: &ChangeSpec) -> io::Result<()> {
        // Without repetition: a shuffled head of the list.
        let mut order: Vec<usize> = (0..self.files.len()).collect();
        for index in 0..order.len() {
            let other = index + self.chance.below((order.len() - index) as u64) as usize;
            order.swap(index, other);
        }
        let chosen: Vec<Path> = order.iter().map(|index| self.files[*index].clone()).collect();
        for path in chosen.iter().take(spec.changed as usize) {
            self.write(path)?;
        }
        for _ in 0..spec.removed.min(chosen.len() as u32) {
            self.remove()?;
        }
        for _ in 0..spec.added {
            self.add()?;
        }
        Ok(())
    }
    fn work(mut self, percent: u8) -> io::Result<()> {
        let turns = (self.files.len() * usize::from(percent)).div_ceil(100).max(1);
        if let Some(index) = self.pick() {
            let path = self.files[index].clone();
            self.write(&path)?;
        }
        for _ in 1..turns {
            let Some(index) = self.pick() else { return self.add() };
            let path = self.files[index].clone();
            match self.chance.below(20) {
                0..=8 => self.write(&path)?,
                9..=12 => self.append(&path)?,
                13 | 14 => self.add()?,
                15 => self.rename(index)?,
                16 => self.chmod(&path)?,
                17 => self.make_directory(&path)?,
                // More come than go: a workload keeps its data.
                _ if self.files.len() > 3 => self.remove()?,
                _ => self.append(&path)?,
            }
        }
        Ok(())
    }
    fn rename(&mut self, index: usize) -> io::Result<()> {
        let (serial, now) = (self.chance.next(), self.time());
        let to = self.files[index]
            .parent()
            .unwrap_or_default()
            .join(format!("moved-{serial:016x}.dat").as_bytes());
        self.tree.rename(&self.files[index], &to, now)?;
        self.files[index] = to;
        Ok(())
    }
    fn chmod(&mut self, path: &Path) -> io::Result<()> {
        let mode = [0o600, 0o640, 0o644, 0o660][self.chance.below(4) as usize];
        let number = self.tree.resolve(path)?;
        self.tree.edit(number, |inode| inode.mode = mode)
    }
    fn make_directory(&mut self, beside: &Path) -> io::Result<()> {
        let (serial, mtime) = (self.chance.next(), self.time());
        let inode = self.tree.inode(self.tree.resolve(beside)?)?;
        let owner = (inode.uid, inode.gid);
        let path = beside.parent().unwrap_or_default().join(format!("folder-{serial:016x}").as_bytes());
        self.tree.insert(&path, Inode::new(Node::Directory(BTreeMap::new()), 0o755, owner, mtime)).map(drop)
    }
}
