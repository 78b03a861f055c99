//! One client's mount of an export.
//!
//! Every request is numbered as a point, asks the register, waits while the server is down, pays the
//! meter's debt and is then answered by the server as it stands at that moment. Handles carry the
//! export's generation: once it changes, every request of this mount answers ESTALE, a new mount is good.
use std::{fmt, io, ops::Range, sync::Arc};

use bytes::Bytes;
use engine::{
    blob::directory::{FileMetadata, Files},
    tree::{Path, Time},
};
use fault::{Seam, Verdict};
use jiff::Timestamp;

use super::{Export, Folder, NfsOptions, Shown, State, content};
use crate::{
    cost::Rate,
    volume::{
        Capabilities, Credentials, Inode, Node,
        errno::{self, error},
        permission::{EXECUTE, READ, WRITE},
    },
};

/// A mounted export.
#[derive(Clone)]
pub struct NfsMount {
    export: Export,
    options: Arc<NfsOptions>,
    generation: u64,
    base: Path,
}

impl fmt::Debug for NfsMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NfsMount({} on {:?} at {})", self.options.actor, self.export, self.base)
    }
}

/// What a request finds when its turn has come.
struct Turn {
    shown: Option<Shown>,
    verdict: Verdict,
}

impl NfsMount {
    pub(super) fn new(export: Export, options: NfsOptions) -> Self {
        let generation = export.state().generation;
        Self { export, options: Arc::new(options), generation, base: Path::root() }
    }
    /// The same mount seen from a directory below it.
    #[must_use]
    pub fn subdirectory(&self, path: &str) -> Self {
        let base = Path::new([self.base.as_bytes(), b"/", path.trim_matches('/').as_bytes()].concat());
        Self { base, ..self.clone() }
    }
    /// The mount as the engine's directory store takes it.
    pub fn shared(self) -> Arc<dyn Files> {
        Arc::new(self)
    }

    fn path(&self, path: &str) -> Path {
        Path::new([self.base.as_bytes(), b"/", path.as_bytes()].concat())
    }
    /// Waits for the server's answer, or for the soft mount's patience to end.
    async fn answered(&self, answer: impl Future<Output = ()>) -> io::Result<()> {
        match self.options.soft {
            None => answer.await,
            Some(timeout) => tokio::time::timeout(timeout, answer).await.map_err(|_| error(errno::EIO))?,
        }
        Ok(())
    }
    async fn request(&self, operation: &str, bytes: u64) -> io::Result<Turn> {
        let register = &self.export.0.register;
        let decision = register.at(Seam::Nfs, &self.options.actor, operation, &self.export.0.name);
        let mut shown = None;
        match (&decision.verdict, decision.by) {
            (Verdict::Hang, Some(id)) => self.answered(register.lifted(id)).await?,
            (Verdict::Delay(by), _) => self.answered(tokio::time::sleep(*by)).await?,
            (Verdict::Kill(9), _) => std::future::pending().await,
            (Verdict::Corrupt(mask), _) => match mask.as_str() {
                "fsid" => self.export.renew(),
                "empty" => shown = Some(Shown::Empty),
                _ => shown = Some(Shown::Other),
            },
            _ => {}
        }
        let mut up = self.export.0.up.subscribe();
        self.answered(async {
            // The sender lives in the export, which this mount holds.
            let _ = up.wait_for(|up| *up).await;
        })
        .await?;
        if let Some(meter) = &self.options.meter {
            meter.charge_request(Rate::NFS, bytes);
            meter.settle().await;
        }
        if self.export.state().generation != self.generation {
            return Err(error(errno::ESTALE));
        }
        Ok(Turn { shown, verdict: decision.verdict })
    }
    /// Runs a request's effect on the directory it is shown, as the mapped user.
    fn serve<R>(
        &self,
        turn: &Turn,
        serve: impl FnOnce(&mut Folder, &Credentials, Option<u64>) -> io::Result<R>,
    ) -> io::Result<R> {
        if let Verdict::Fail { code, .. } = &turn.verdict {
            return Err(error(errno::of(code)));
        }
        let mut state = self.export.state();
        let State { squash, quota, .. } = *state;
        let (uid, gid) = squash.map(self.options.uid, self.options.gid);
        // The server trusts its clients' root only when it is not squashed.
        let capabilities = if uid == 0 { Capabilities::DEFAULT_ROOT } else { Capabilities::NONE };
        let who = Credentials::user(uid, gid).with_capabilities(capabilities);
        serve(state.folder(turn.shown), &who, quota)
    }
}

/// Checks the way to a path, and a permission on its directory.
fn pass(folder: &Folder, who: &Credentials, path: &Path, wanted: u32) -> io::Result<()> {
    let chain = folder.tree.directories(path)?;
    for directory in &chain {
        who.access(folder.tree.inode(*directory)?, EXECUTE)?;
    }
    match chain.last() {
        Some(parent) if wanted != 0 => who.access(folder.tree.inode(*parent)?, wanted),
        _ => Ok(()),
    }
}

fn metadata(name: &[u8], inode: &Inode) -> FileMetadata {
    let is_directory = matches!(inode.node, Node::Directory(_));
    let length = match &inode.node {
        Node::File(content) => content.len(),
        _ => 0,
    };
    let modified = Timestamp::from_nanosecond(inode.mtime.as_nanos()).unwrap_or_default();
    FileMetadata { name: String::from_utf8_lossy(name).into_owned(), is_directory, length, modified }
}

fn new_file(who: &Credentials, now: Time) -> Inode {
    Inode::new(Node::File(Arc::default()), 0o600, (who.uid, who.gid), now)
}

#[async_trait::async_trait]
impl Files for NfsMount {
    async fn read(&self, path: &str, range: Option<Range<u64>>) -> io::Result<Bytes> {
        let turn = self
            .request("read", range.as_ref().map_or(0, |range| range.end.saturating_sub(range.start)))
            .await?;
        let path = self.path(path);
        self.serve(&turn, |folder, who, _| {
            pass(folder, who, &path, 0)?;
            let number = folder.tree.resolve(&path)?;
            let inode = folder.tree.inode(number)?;
            if matches!(inode.node, Node::Directory(_)) {
                return Err(error(errno::EISDIR));
            }
            who.access(inode, READ)?;
            let content = content(&folder.tree, number);
            let range = range.unwrap_or(0..content.len());
            if range.start > range.end || range.end > content.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut buffer = vec![0; (range.end - range.start) as usize];
            content.read(range.start, &mut buffer);
            Ok(buffer.into())
        })
    }
    async fn create_new(&self, path: &str, bytes: Bytes) -> io::Result<()> {
        let turn = self.request("create", bytes.len() as u64).await?;
        let (path, now) = (self.path(path), self.export.now());
        if let Verdict::Fail { code, .. } = &turn.verdict {
            // What was written before the error stays: half of the bytes, or none on a full disk.
            let kept = if code == "EIO" { bytes.slice(..bytes.len() / 2) } else { Bytes::new() };
            let open = Turn { shown: turn.shown, verdict: Verdict::Proceed };
            self.serve(&open, |folder, who, _| {
                pass(folder, who, &path, WRITE | EXECUTE)?;
                folder.create(&path, new_file(who, now), kept, None)
            })?;
        }
        self.serve(&turn, |folder, who, quota| {
            pass(folder, who, &path, WRITE | EXECUTE)?;
            let bytes = if matches!(turn.verdict, Verdict::Swallow) { Bytes::new() } else { bytes };
            folder.create(&path, new_file(who, now), bytes, quota)
        })
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let turn = self.request("rename", 0).await?;
        let (from, to, now) = (self.path(from), self.path(to), self.export.now());
        self.serve(&turn, |folder, who, _| {
            pass(folder, who, &from, WRITE | EXECUTE)?;
            pass(folder, who, &to, WRITE | EXECUTE)?;
            let replaced = folder.tree.resolve(&to).map_or(0, |number| content(&folder.tree, number).len());
            if folder.tree.rename(&from, &to, now)?.is_some() {
                folder.used -= replaced;
            }
            Ok(())
        })
    }
    async fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let turn = self.request("create", 0).await?;
        let (from, to, now) = (self.path(from), self.path(to), self.export.now());
        self.serve(&turn, |folder, who, _| {
            pass(folder, who, &from, 0)?;
            pass(folder, who, &to, WRITE | EXECUTE)?;
            folder.tree.link(&from, &to, now)
        })
    }
    async fn unlink(&self, path: &str) -> io::Result<()> {
        let turn = self.request("remove", 0).await?;
        let (path, now) = (self.path(path), self.export.now());
        self.serve(&turn, |folder, who, _| {
            pass(folder, who, &path, WRITE | EXECUTE)?;
            let number = folder.tree.resolve(&path)?;
            if matches!(folder.tree.inode(number)?.node, Node::Directory(_)) {
                return Err(error(errno::EISDIR));
            }
            let length = content(&folder.tree, number).len();
            if folder.tree.remove(&path, now)?.is_some() {
                folder.used -= length;
            }
            Ok(())
        })
    }
    async fn stat(&self, path: &str) -> io::Result<FileMetadata> {
        let turn = self.request("lookup", 0).await?;
        let path = self.path(path);
        self.serve(&turn, |folder, who, _| {
            pass(folder, who, &path, 0)?;
            Ok(metadata(b"", folder.tree.inode(folder.tree.resolve(&path)?)?))
        })
    }
    async fn list_dir(&self, path: &str) -> io::Result<Vec<FileMetadata>> {
        let turn = self.request("list", 0).await?;
        let path = self.path(path);
        self.serve(&turn, |folder, who, _| {
            pass(folder, who, &path, 0)?;
            let number = folder.tree.resolve(&path)?;
            who.access(folder.tree.inode(number)?, READ)?;
            folder
                .tree
                .names(number)?
                .iter()
                .map(|(name, child)| Ok(metadata(name, folder.tree.inode(*child)?)))
                .collect()
        })
    }
    async fn mkdir(&self, path: &str) -> io::Result<()> {
        let turn = self.request("mkdir", 0).await?;
        let (path, now) = (self.path(path), self.export.now());
        self.serve(&turn, |folder, who, _| {
            pass(folder, who, &path, WRITE | EXECUTE)?;
            let node = Node::Directory(std::collections::BTreeMap::new());
            folder.tree.insert(&path, Inode::new(node, 0o700, (who.uid, who.gid), now)).map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engine::{
        blob::directory::DirectoryStore,
        context::Entropy,
        store::{ErrorKind, Store as _},
    };
    use fault::{Fault, Register, nfs};

    use super::*;
    use crate::nfs::{NfsOptions, Squash};

    fn export(register: &Register) -> Export {
        Export::new("nas", Arc::new(|| Timestamp::UNIX_EPOCH), register.clone())
    }
    async fn store(mount: NfsMount) -> DirectoryStore {
        DirectoryStore::create(mount.shared(), Entropy::from_seed([1; 32])).await.unwrap()
    }
    fn x() -> Bytes {
        Bytes::from_static(b"x")
    }

    #[tokio::test]
    async fn a_directory_store_stands_on_it() {
        let export = export(&Register::new(1));
        let store = store(export.mount(NfsOptions::hard("a"))).await;
        let name = "p0d4718e4718e4718e4718e4718e4";
        store.put(name, Bytes::from_static(b"0123")).await.unwrap();
        assert!(export.files().contains_key("p/0d4/718e4718e4718e4718e4718e4.f"));
        assert_eq!(store.get(name, Some(1..3)).await.unwrap(), "12");
        assert_eq!(store.put_new(name, x()).await.unwrap_err().kind, ErrorKind::Exists);
        assert_eq!(store.list("p").await.unwrap().len(), 1);
        store.delete(name).await.unwrap();
        assert_eq!(store.get(name, None).await.unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(export.used(), export.files().values().map(|bytes| bytes.len() as u64).sum::<u64>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hard_mount_waits_and_a_soft_one_gives_up() {
        let register = Register::new(1);
        let export = export(&register);
        let hard = export.mount(NfsOptions::hard("hard"));
        let soft = export.mount(NfsOptions::hard("soft").soft(Duration::from_mins(3)));
        hard.create_new("a", x()).await.unwrap();
        for down in [true, false] {
            let id = if down {
                export.set_up(false);
                None
            } else {
                Some(register.arm(nfs::hard_mount_hang::Spec::default()))
            };
            let begin = tokio::time::Instant::now();
            assert_eq!(soft.stat("a").await.unwrap_err().raw_os_error(), Some(errno::EIO));
            assert_eq!(begin.elapsed(), Duration::from_mins(3));
            let waiting = hard.clone();
            let hung = tokio::spawn(async move { waiting.read("a", None).await });
            tokio::time::sleep(Duration::from_hours(24)).await;
            assert!(!hung.is_finished());
            export.set_up(true);
            if let Some(id) = id {
                register.lift(id);
            }
            assert_eq!(hung.await.unwrap().unwrap(), "x");
        }
    }

    #[tokio::test]
    async fn old_handles_are_stale_and_new_mounts_good() {
        let register = Register::new(1);
        let export = export(&register);
        let old = export.mount(NfsOptions::hard("old"));
        old.create_new("a", x()).await.unwrap();
        let id = register.arm(nfs::stale_handle::Spec::default());
        for _ in 0..2 {
            assert_eq!(old.read("a", None).await.unwrap_err().raw_os_error(), Some(errno::ESTALE));
        }
        assert_eq!(register.firings(id), 1);
        assert_eq!(export.mount(NfsOptions::hard("new")).read("a", None).await.unwrap(), "x");
        register.lift(id);
        assert!(old.read("a", None).await.is_err(), "a stale handle stays stale");
    }

    #[tokio::test]
    async fn a_full_export_refuses_bytes_and_keeps_what_was_there() {
        let register = Register::new(1);
        let export = export(&register);
        let mount = export.mount(NfsOptions::hard("a"));
        mount.create_new("a", Bytes::from(vec![1; 80])).await.unwrap();
        export.set_quota(Some(100));
        let refused = mount.create_new("b", Bytes::from(vec![1; 80])).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(errno::EDQUOT));
        assert_eq!(export.files()["b"], Bytes::new(), "the file was opened before the write failed");
        mount.unlink("a").await.unwrap();
        mount.create_new("c", Bytes::from(vec![1; 80])).await.unwrap();
        export.set_quota(None);
        let id = register.arm(nfs::no_space::Spec::default());
        assert_eq!(mount.create_new("d", x()).await.unwrap_err().raw_os_error(), Some(errno::ENOSPC));
        assert_eq!(mount.read("c", None).await.unwrap().len(), 80);
        register.lift(id);
        mount.create_new("e", x()).await.unwrap();
    }

    #[tokio::test]
    async fn a_soft_error_leaves_half_a_temporary_file_and_no_blob() {
        let register = Register::new(1);
        let export = export(&register);
        let store = store(export.mount(NfsOptions::hard("a"))).await;
        let id = register.arm(nfs::soft_mount_eio::Spec { writes_only: true, ..Default::default() });
        assert_eq!(store.put("short", Bytes::from(vec![1; 10])).await.unwrap_err().kind, ErrorKind::Io);
        register.lift(id);
        assert!(store.list("").await.unwrap().is_empty());
        assert!(export.files().values().any(|bytes| bytes.len() == 5));
        store.put("short", Bytes::from(vec![1; 10])).await.unwrap();
    }

    #[tokio::test]
    async fn a_wrong_export_hides_the_right_one_until_the_lift() {
        let register = Register::new(1);
        let export = export(&register);
        let mount = export.mount(NfsOptions::hard("a"));
        mount.create_new("a", x()).await.unwrap();
        let id = register.arm(Fault::named("nfs-wrong-export").unwrap());
        assert!(mount.list_dir("").await.unwrap().is_empty());
        mount.create_new("stray", x()).await.unwrap();
        register.lift(id);
        assert_eq!(mount.list_dir("").await.unwrap().len(), 1);
        assert_eq!(mount.read("a", None).await.unwrap(), "x");
    }

    #[tokio::test]
    async fn users_are_mapped_and_permissions_checked() {
        let export = export(&Register::new(1));
        export.set_root(568, 568, 0o750);
        let (root, owner, other) = (
            export.mount(NfsOptions::hard("root")),
            export.mount(NfsOptions::hard("owner").user(568, 568)),
            export.mount(NfsOptions::hard("other").user(1000, 1000)),
        );
        root.create_new("by-root", x()).await.unwrap();
        export.set_squash(Squash::Root);
        assert_eq!(root.create_new("r", x()).await.unwrap_err().raw_os_error(), Some(errno::EACCES));
        assert_eq!(other.stat("by-root").await.unwrap_err().raw_os_error(), Some(errno::EACCES));
        owner.create_new("o", x()).await.unwrap();
        assert_eq!(owner.read("by-root", None).await.unwrap_err().raw_os_error(), Some(errno::EACCES));
        export.set_squash(Squash::All(568, 568));
        other.create_new("now", x()).await.unwrap();
    }

    #[tokio::test]
    async fn rot_on_the_export_is_undone_by_the_lift() {
        let register = Register::new(3);
        let export = export(&register);
        export.mount(NfsOptions::hard("a")).mkdir("below").await.unwrap();
        let store = store(export.mount(NfsOptions::hard("a")).subdirectory("/below")).await;
        let name = "p0d4718e4718e4718e4718e4718e4";
        store.put(name, Bytes::from(vec![9; 500])).await.unwrap();
        let id = register.arm(Fault::named("store-bit-rot").unwrap());
        assert_ne!(store.get(name, None).await.unwrap(), vec![9; 500]);
        assert_eq!(register.firings(id), 1);
        register.lift(id);
        assert_eq!(store.get(name, None).await.unwrap(), vec![9; 500]);
    }
}
