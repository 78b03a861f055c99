//! What the engine's tests share: a store in memory on a hand-driven clock, trees of noise, and a
//! comparison of trees that shares no code with the engine.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path as FilePath, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use engine::{
    CreateOptions, Event, Monitor, Repository,
    blob::memory::MemoryStore,
    context::{Client, Context, Entropy},
    store::SharedStore,
    tree::{Entry, LocalTree, Path, ReadTree},
};
use jiff::{Timestamp, tz::TimeZone};
use sha2::{Digest as _, Sha256};

pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A store on a clock that moves only when told.
pub struct Bed {
    pub memory: Arc<MemoryStore>,
    pub store: SharedStore,
    clock: Arc<AtomicI64>,
    entropy: Entropy,
}

impl Bed {
    pub fn new(seed: u64) -> Self {
        let clock = Arc::new(AtomicI64::new(1_767_225_600_000_000_000));
        let reading = clock.clone();
        let memory = Arc::new(MemoryStore::new(Arc::new(move || {
            Timestamp::from_nanosecond(i128::from(reading.load(Ordering::SeqCst))).unwrap()
        })));
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self { store: memory.clone(), memory, clock, entropy: Entropy::from_seed(bytes) }
    }
    pub fn now(&self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.clock.load(Ordering::SeqCst))).unwrap()
    }
    pub fn advance_seconds(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1_000_000_000, Ordering::SeqCst);
    }
    pub fn advance_hours(&self, hours: i64) {
        self.advance_seconds(hours * 3600);
    }
    pub fn context(&self, username: &str, hostname: &str) -> Context {
        self.skewed(username, hostname, 0)
    }
    /// A client whose clock is off. Every look at a clock takes a microsecond.
    pub fn skewed(&self, username: &str, hostname: &str, seconds: i64) -> Context {
        let clock = self.clock.clone();
        Context {
            now: Arc::new(move || {
                let nanos = clock.fetch_add(1000, Ordering::SeqCst) + seconds * 1_000_000_000;
                Timestamp::from_nanosecond(i128::from(nanos)).unwrap()
            }),
            entropy: self.entropy.clone(),
            client: Client { username: username.to_owned(), hostname: hostname.to_owned() },
            zone: TimeZone::UTC,
        }
    }
    pub fn create(&self) -> Repository {
        let context = self.context("app", "cluster");
        block_on(Repository::create(self.store.clone(), "password", CreateOptions::default(), context))
            .unwrap()
    }
    pub fn open(&self) -> Repository {
        block_on(Repository::open(self.store.clone(), "password", self.context("app", "cluster"))).unwrap()
    }
    pub fn blobs(&self, prefix: &str) -> Vec<String> {
        self.memory.contents().into_keys().filter(|id| id.starts_with(prefix)).collect()
    }
    /// SHA-256 over names and bytes of all blobs.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for (id, (bytes, _)) in self.memory.contents() {
            digest.update((id.len() as u64).to_le_bytes());
            digest.update(id);
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(&bytes);
        }
        hex::encode(digest.finalize())
    }
}

/// The generator that the golden vectors use.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// Bytes that do not compress.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut noise = Noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&noise.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Fills a directory with a small mixed tree.
pub fn fill(root: &FilePath, seed: u64, count: u64) {
    let mut chance = Noise(seed.wrapping_add(1).wrapping_mul(0x1234_5678_9abc_def1) | 1);
    let mut directories = vec![root.to_path_buf()];
    for n in 0..count {
        let parent = directories[(chance.next() % directories.len() as u64) as usize].clone();
        match chance.next() % 8 {
            0 | 1 => {
                let path = parent.join(format!("dir {n}"));
                fs::create_dir(&path).unwrap();
                directories.push(path);
            }
            2 => std::os::unix::fs::symlink(format!("../somewhere/{n}"), parent.join(format!("link{n}")))
                .unwrap(),
            kind => {
                let size = [0, 1, 700, 9000, 130_000, 700_000][(chance.next() % 6) as usize];
                // Few seeds, so that some files are equal; zeros, so that there is something to compress.
                let bytes = if kind == 7 { vec![0; size] } else { noise(chance.next() % 5, size) };
                fs::write(parent.join(format!("file-{n}.<&>é")), bytes).unwrap();
            }
        }
    }
    for (n, path) in walk(root).into_iter().enumerate() {
        let time =
            std::time::UNIX_EPOCH + std::time::Duration::new(1_500_000_000 + n as u64 * 977, 123_456_789);
        if path.symlink_metadata().unwrap().is_file() {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(
                [0o644, 0o600, 0o755, 0o4711][n % 4],
            ))
            .unwrap();
            file.set_modified(time).unwrap();
        }
    }
}

fn walk(root: &FilePath) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        found.push(path.clone());
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(walk(&path));
        }
    }
    found
}

/// Every regular file below a directory.
pub fn files(root: &FilePath) -> Vec<PathBuf> {
    walk(root).into_iter().filter(|path| path.symlink_metadata().unwrap().is_file()).collect()
}

fn describe(root: &FilePath) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    for path in walk(root).into_iter().chain([root.to_path_buf()]) {
        let about = path.symlink_metadata().unwrap();
        let what = if about.is_file() {
            hex::encode(Sha256::digest(fs::read(&path).unwrap()))
        } else if about.is_symlink() {
            hex::encode(fs::read_link(&path).unwrap().as_os_str().as_bytes())
        } else {
            "directory".to_owned()
        };
        let text = format!(
            "{what} mode {:o} owner {}:{} time {}.{}",
            about.mode(),
            about.uid(),
            about.gid(),
            about.mtime(),
            about.mtime_nsec()
        );
        found.insert(path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec(), text);
    }
    found
}

/// The differences between two trees: bytes, type, mode, owner, times (in ns), targets.
pub fn compare(a: &FilePath, b: &FilePath) -> Vec<String> {
    let (a, b) = (describe(a), describe(b));
    let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).cloned().collect();
    names
        .into_iter()
        .filter(|name| a.get(name) != b.get(name))
        .map(|name| {
            format!("{}: {:?} became {:?}", String::from_utf8_lossy(&name), a.get(&name), b.get(&name))
        })
        .collect()
}

/// A tree that refuses to open one file.
pub struct Refusing {
    pub inner: LocalTree,
    pub refused: Path,
}

impl ReadTree for Refusing {
    fn entry(&self, path: &Path) -> io::Result<Entry> {
        self.inner.entry(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.inner.read_dir(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.inner.read_link(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send + '_>> {
        if *path == self.refused {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.inner.open(path)
    }
}

/// A tree on which opening a file takes long.
pub struct Slow<'a> {
    pub inner: LocalTree,
    pub bed: &'a Bed,
    pub minutes: i64,
}

impl ReadTree for Slow<'_> {
    fn entry(&self, path: &Path) -> io::Result<Entry> {
        self.inner.entry(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.inner.read_dir(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.inner.read_link(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send + '_>> {
        self.bed.advance_seconds(self.minutes * 60);
        self.inner.open(path)
    }
}

/// Counts checkpoints.
#[derive(Default)]
pub struct Checkpoints(AtomicUsize);

impl Checkpoints {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Monitor for Checkpoints {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Checkpoint) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A tree made of nothing but constants, the same on every machine.
#[derive(Default)]
pub struct Fixed;

impl Fixed {
    fn all() -> Vec<(&'static str, u32, Option<Vec<u8>>)> {
        vec![
            ("", 0o755, None),
            ("empty", 0o700, None),
            ("etc", 0o2775, None),
            ("etc/a.txt", 0o644, Some(b"some text\n".repeat(3000))),
            ("etc/setuid", 0o4755, Some(noise(1, 70_000))),
            ("large", 0o600, Some(noise(2, 9_000_000))),
            ("nothing", 0o644, Some(Vec::new())),
            ("zeros", 0o644, Some(vec![0; 5_000_000])),
        ]
    }
    fn found(path: &Path) -> io::Result<(Entry, Vec<u8>)> {
        let all = Self::all();
        let n = all.iter().position(|(name, ..)| Path::new(name) == *path).ok_or(io::ErrorKind::NotFound)?;
        let (_, mode, bytes) = all[n].clone();
        let entry = Entry {
            name: path.name().to_vec(),
            kind: if bytes.is_some() { engine::tree::Kind::File } else { engine::tree::Kind::Directory },
            mode,
            uid: 568,
            gid: 568,
            size: bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            mtime: engine::tree::Time {
                seconds: 1_600_000_000 + i64::try_from(n).unwrap(),
                nanoseconds: 123_456_789,
            },
            inode: n as u64 + 1,
            links: 1,
            device: 1,
            has_xattrs: false,
            is_sparse: false,
        };
        Ok((entry, bytes.unwrap_or_default()))
    }
}

impl ReadTree for Fixed {
    fn entry(&self, path: &Path) -> io::Result<Entry> {
        Ok(Self::found(path)?.0)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let children = Self::all().into_iter().map(|(name, ..)| Path::new(name));
        children
            .filter(|child| child.parent().as_ref() == Some(path))
            .map(|child| self.entry(&child))
            .collect()
    }
    fn read_link(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::InvalidInput.into())
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(io::Cursor::new(Self::found(path)?.1)))
    }
}
