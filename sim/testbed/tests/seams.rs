//! Seam conformance: one body, run over the double and over the real thing.
//!
//! What the bed's volume, NFS export and bucket answer is held to what a real file system answers in a
//! temporary directory. Users other than root see only what needs no privileges.
use std::{io, io::Read as _, sync::Arc};

use bytes::Bytes;
use engine::{
    blob::directory::{DirectoryStore, Files, LocalFiles},
    blob::memory::MemoryStore,
    context::Entropy,
    store::{ErrorKind, SharedStore},
    tree::{Kind, Path, Time, WriteTree, local::LocalTree},
};
use fault::Register;
use jiff::Timestamp;
use testbed::{
    bucket::{Bucket, FaultyStore},
    nfs::{Export, NfsOptions},
    volume::{Character, MountOptions, Volume, VolumeFiles},
};

fn epoch() -> engine::context::Now {
    Arc::new(|| Timestamp::UNIX_EPOCH)
}
fn code<T>(answer: io::Result<T>) -> Option<i32> {
    answer.err().map(|error| error.raw_os_error().unwrap_or(-1))
}
fn path(text: &str) -> Path {
    Path::new(text)
}
fn write(tree: &dyn WriteTree, at: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = tree.create_file(&path(at), 0o640)?;
    file.write_at(0, bytes)?;
    file.finish()
}
fn read(tree: &dyn WriteTree, at: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    tree.open(&path(at))?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a tree answers, as text: the two arms must give the same.
fn tree_answers(tree: &dyn WriteTree) -> Vec<String> {
    let mut answers = Vec::new();
    let mut note = |what: &str, answer: String| answers.push(format!("{what}: {answer}"));
    let about = |at: &str| {
        tree.entry(&path(at)).map_or_else(
            |error| format!("error {:?}", error.raw_os_error()),
            |entry| {
                format!(
                    "{:?} {:04o} {} {} links {:?} sparse {}",
                    entry.kind, entry.mode, entry.size, entry.links, entry.mtime, entry.is_sparse
                )
            },
        )
    };
    let fixed = Time { seconds: 1_700_000_000, nanoseconds: 123_456_789 };
    write(tree, "file", b"hello").unwrap();
    tree.create_dir(&path("dir"), 0o750).unwrap();
    write(tree, "dir/inner", b"inner").unwrap();
    tree.create_symlink(&path("link"), b"dir/inner").unwrap();
    for at in ["file", "dir/inner", "link"] {
        tree.set_mtime(&path(at), fixed).unwrap();
    }
    note("file", about("file"));
    note("inner", about("dir/inner"));
    note("link", about("link"));
    note(
        "link target",
        format!(
            "{:?}",
            tree.read_link(&path("link")).map(|target| String::from_utf8_lossy(&target).into_owned()).ok()
        ),
    );
    note("read", format!("{:?}", read(tree, "file").ok()));
    note("absent", format!("{:?}", code(read(tree, "absent"))));
    note("below a file", format!("{:?}", code(tree.entry(&path("file/x")))));
    note("list a file", format!("{:?}", code(tree.read_dir(&path("file")))));
    note("link of a file", format!("{:?}", code(tree.read_link(&path("file")))));
    note("dir again", format!("{:?}", code(tree.create_dir(&path("dir"), 0o700))));
    note("dir over file", format!("{:?}", code(tree.create_dir(&path("file"), 0o700))));
    note("symlink again", format!("{:?}", code(tree.create_symlink(&path("link"), b"x"))));
    note("full dir removed", format!("{:?}", code(tree.remove_dir(&path("dir")))));
    note("file removed as dir", format!("{:?}", code(tree.remove_dir(&path("file")))));
    note("file below absent", format!("{:?}", code(write(tree, "no/where", b""))));
    note("file over dir", format!("{:?}", code(tree.rename(&path("file"), &path("dir")))));
    note("dir over file", format!("{:?}", code(tree.rename(&path("dir"), &path("file")))));
    note("dir into itself", format!("{:?}", code(tree.rename(&path("dir"), &path("dir/sub")))));
    note("create over dir", format!("{:?}", code(write(tree, "dir", b""))));
    tree.set_mode(&path("file"), 0o4711).unwrap();
    note("setuid", about("file").replace(' ', "_"));
    write(tree, "file", b"hi").unwrap();
    note("shorter", format!("{:?}", read(tree, "file").ok()));
    let mut sparse = tree.create_file(&path("sparse"), 0o600).unwrap();
    sparse.set_len(1 << 20).unwrap();
    sparse.write_at(500_000, b"middle").unwrap();
    sparse.finish().unwrap();
    tree.sync().unwrap();
    tree.set_mtime(&path("sparse"), fixed).unwrap();
    note("sparse", about("sparse"));
    let bytes = read(tree, "sparse").unwrap();
    note("sparse bytes", format!("{} {:?}", bytes.len(), &bytes[499_998..500_008]));
    tree.rename(&path("dir/inner"), &path("file")).unwrap();
    note("replaced", format!("{:?}", read(tree, "file").ok()));
    tree.remove_dir(&path("dir")).unwrap();
    tree.remove_file(&path("link")).unwrap();
    tree.create_dir(&path("odd"), 0o755).unwrap();
    for name in [&b"caf\xe9"[..], b"new\nline", b"b", b"a.b", b"a"] {
        let at = path("odd").join(name);
        tree.create_file(&at, 0o600).unwrap().finish().unwrap();
    }
    let names: Vec<_> = tree
        .read_dir(&path("odd"))
        .unwrap()
        .into_iter()
        .map(|entry| (entry.name, entry.kind == Kind::File))
        .collect();
    note("sorted by raw name", format!("{names:?}"));
    note("too long a name", format!("{:?}", code(tree.create_dir(&path("odd").join(&[b'n'; 256]), 0o700))));
    tree.sync().unwrap();
    tree.drop_caches().unwrap();
    note("after the caches", format!("{:?}", read(tree, "file").ok()));
    answers
}

#[test]
fn a_volume_answers_as_a_real_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let real = tree_answers(&LocalTree::open(folder.path()).unwrap());
    let volume = Volume::new("v", Character::Rbd, epoch());
    let double = tree_answers(&volume.mount(MountOptions::new("m")));
    for (real, double) in real.iter().zip(&double) {
        assert_eq!(double, real);
    }
    assert_eq!(double.len(), real.len());
}

async fn file_answers(files: &dyn Files) -> Vec<String> {
    let mut answers = Vec::new();
    let mut note = |what: &str, answer: String| answers.push(format!("{what}: {answer}"));
    let kind = |answer: io::Result<()>| format!("{:?}", answer.err().map(|error| error.kind()));
    files.create_new("a", Bytes::from_static(b"0123456789")).await.unwrap();
    files.mkdir("d").await.unwrap();
    note("again", kind(files.create_new("a", Bytes::new()).await));
    note("mkdir again", kind(files.mkdir("d").await));
    note("mkdir below absent", kind(files.mkdir("x/y").await));
    note("create below absent", kind(files.create_new("x/y", Bytes::new()).await));
    note("read", format!("{:?}", files.read("a", None).await.ok()));
    note("range", format!("{:?}", files.read("a", Some(2..5)).await.ok()));
    note("beyond", kind(files.read("a", Some(5..11)).await.map(drop)));
    note("absent", kind(files.read("b", None).await.map(drop)));
    note("link", kind(files.link("a", "d/b").await));
    note("link over", kind(files.link("a", "d/b").await));
    note("link of absent", kind(files.link("zz", "d/c").await));
    files.create_new("c", Bytes::from_static(b"new")).await.unwrap();
    note("rename over", kind(files.rename("c", "a").await));
    note("replaced", format!("{:?}", files.read("a", None).await.ok()));
    note("the other name", format!("{:?}", files.read("d/b", None).await.ok()));
    note("rename absent", kind(files.rename("zz", "a").await));
    note("unlink", kind(files.unlink("a").await));
    note("unlink absent", kind(files.unlink("a").await));
    let listed = |list: io::Result<Vec<engine::blob::directory::FileMetadata>>| {
        format!(
            "{:?}",
            list.map(|list| list
                .into_iter()
                .map(|found| (found.name, found.is_directory, found.length))
                .collect::<Vec<_>>())
                .ok()
        )
    };
    note("root", listed(files.list_dir("").await));
    note("folder", listed(files.list_dir("d").await));
    note("absent folder", listed(files.list_dir("x").await));
    note(
        "stat",
        format!("{:?}", files.stat("d/b").await.map(|found| (found.is_directory, found.length)).ok()),
    );
    answers
}

#[tokio::test]
async fn exports_and_volumes_hold_files_as_a_real_folder_does() {
    let folder = tempfile::tempdir().unwrap();
    let real = file_answers(&LocalFiles::new(folder.path())).await;
    let export = Export::new("nas", epoch(), Register::new(1));
    assert_eq!(file_answers(&export.mount(NfsOptions::hard("m"))).await, real);
    let volume = Volume::new("v", Character::CephFs, epoch());
    assert_eq!(
        file_answers(&VolumeFiles::new(Arc::new(volume.mount(MountOptions::new("m"))), "")).await,
        real
    );
}

fn kind<T>(answer: Result<T, engine::store::Error>) -> Option<ErrorKind> {
    answer.err().map(|error| error.kind)
}

async fn store_answers(store: &SharedStore) -> Vec<String> {
    let mut answers = Vec::new();
    let mut note = |what: &str, answer: String| answers.push(format!("{what}: {answer}"));
    let long = "p0123456789abcdef0123456789abcdef";
    note("empty", format!("{:?}", store.list("").await.map(|list| list.len()).ok()));
    store.put(long, Bytes::from_static(b"0123456789")).await.unwrap();
    store.put("q1", Bytes::new()).await.unwrap();
    note("read", format!("{:?}", store.get(long, None).await.ok()));
    note("range", format!("{:?}", store.get(long, Some(9..10)).await.ok()));
    note("beyond", format!("{:?}", kind(store.get(long, Some(9..11)).await)));
    note("absent", format!("{:?}", kind(store.get("p", None).await)));
    note("stat", format!("{:?}", store.stat(long).await.map(|found| (found.id, found.length)).ok()));
    note("stat absent", format!("{:?}", kind(store.stat("zz").await)));
    note("new over", format!("{:?}", kind(store.put_new(long, Bytes::new()).await)));
    note("new", format!("{:?}", kind(store.put_new("p2", Bytes::from_static(b"x")).await)));
    store.put(long, Bytes::from_static(b"again")).await.unwrap();
    note("replaced", format!("{:?}", store.get(long, None).await.ok()));
    for prefix in ["", "p", "p0123456789abcdef0", "q", "z"] {
        note(
            prefix,
            format!(
                "{:?}",
                store
                    .list(prefix)
                    .await
                    .map(|list| list.into_iter().map(|found| (found.id, found.length)).collect::<Vec<_>>())
                    .ok()
            ),
        );
    }
    note("delete", format!("{:?}", kind(store.delete(long).await)));
    note("delete again", format!("{:?}", kind(store.delete(long).await)));
    note("gone", format!("{:?}", kind(store.get(long, None).await)));
    answers
}

#[tokio::test]
async fn every_store_keeps_the_promises_of_the_seam() {
    let entropy = || Entropy::from_seed([3; 32]);
    let folder = tempfile::tempdir().unwrap();
    let local = Arc::new(LocalFiles::new(folder.path()));
    let real: SharedStore = Arc::new(DirectoryStore::create(local, entropy()).await.unwrap());
    let real = store_answers(&real).await;
    let register = Register::new(1);
    let bucket = Bucket::new("main", epoch(), register.clone());
    let export = Export::new("nas", epoch(), register.clone());
    let volume = Volume::new("v", Character::Rbd, epoch());
    let claim = VolumeFiles::new(Arc::new(volume.mount(MountOptions::new("m"))), "");
    let doubles: [(&str, SharedStore); 5] = [
        ("memory", Arc::new(MemoryStore::new(epoch()))),
        ("bucket", bucket.view("some/prefix/")),
        ("bucket behind faults", FaultyStore::new(bucket.view(""), "main", "a", register).shared()),
        (
            "export",
            Arc::new(
                DirectoryStore::create(export.mount(NfsOptions::hard("m")).shared(), entropy())
                    .await
                    .unwrap(),
            ),
        ),
        ("claim", Arc::new(DirectoryStore::create(Arc::new(claim), entropy()).await.unwrap())),
    ];
    for (name, double) in doubles {
        assert_eq!(store_answers(&double).await, real, "{name}");
    }
}
