//! What every store promises, as one body run over each of them.

mod support;

use std::sync::Arc;

use engine::{
    blob::directory::{DirectoryStore, Files as _, LocalFiles},
    context::Entropy,
    store::{ErrorKind, Store},
};
use support::{Bed, block_on};

/// The promises of the seam.
async fn keeps_the_promises(store: &dyn Store) {
    let kind = |error: engine::store::Error| error.kind;
    // Nothing is there.
    assert_eq!(store.list("").await.unwrap(), []);
    assert_eq!(store.get("absent", None).await.map_err(kind), Err(ErrorKind::NotFound));
    assert_eq!(store.stat("absent").await.map_err(kind), Err(ErrorKind::NotFound));
    store.delete("absent").await.unwrap();
    // What was put is got, whole and in ranges; a put replaces.
    let long = "p0123456789abcdef0123456789abcdef-s6988ecdb443e1328147";
    for (id, bytes) in [
        ("kopia.repository", "format"),
        (long, "0123456789"),
        ("xn0_aa-s1-c1", ""),
        ("p0", "old"),
        ("p0", "new"),
    ] {
        store.put(id, bytes.into()).await.unwrap();
        assert_eq!(store.get(id, None).await.unwrap(), bytes);
        assert_eq!(store.stat(id).await.unwrap().length, bytes.len() as u64);
    }
    assert_eq!(store.get(long, Some(2..5)).await.unwrap(), "234");
    assert_eq!(store.get(long, Some(0..10)).await.unwrap(), "0123456789");
    assert_eq!(store.get(long, Some(4..4)).await.unwrap(), "");
    assert_eq!(store.get(long, Some(5..11)).await.map_err(kind), Err(ErrorKind::Truncated));
    // Listings are sorted, by prefix, with lengths and times.
    let names =
        |listing: Vec<engine::store::Metadata>| listing.into_iter().map(|blob| blob.id).collect::<Vec<_>>();
    assert_eq!(names(store.list("").await.unwrap()), ["kopia.repository", "p0", long, "xn0_aa-s1-c1"]);
    assert_eq!(names(store.list("p").await.unwrap()), ["p0", long]);
    assert_eq!(names(store.list("p01").await.unwrap()), [long]);
    assert_eq!(names(store.list("p0123456789abcdef0123456789abcdef-s").await.unwrap()), [long]);
    assert_eq!(names(store.list("z").await.unwrap()), Vec::<String>::new());
    let listed = store.list("p0").await.unwrap();
    for blob in &listed {
        assert_eq!(*blob, store.stat(&blob.id).await.unwrap());
    }
    // Creation is exclusive and leaves what is there.
    assert_eq!(store.put_new("p0", "third".into()).await.map_err(kind), Err(ErrorKind::Exists));
    assert_eq!(store.get("p0", None).await.unwrap(), "new");
    store.put_new(&format!("{long}2"), "created".into()).await.unwrap();
    assert_eq!(store.get(&format!("{long}2"), None).await.unwrap(), "created");
    // What is deleted is gone, and nothing else.
    store.delete("p0").await.unwrap();
    assert_eq!(names(store.list("p").await.unwrap()), [long.to_owned(), format!("{long}2")]);
}

#[test]
fn the_memory_store_keeps_the_promises() {
    block_on(keeps_the_promises(&*Bed::new(1).memory));
}

#[test]
fn the_directory_store_keeps_the_promises() {
    let folder = tempfile::tempdir().unwrap();
    let files = Arc::new(LocalFiles::new(folder.path()));
    let store = block_on(DirectoryStore::create(files, Entropy::from_seed([1; 32]))).unwrap();
    block_on(keeps_the_promises(&store));
    // Nothing half-written is left behind.
    let leftovers =
        support::files(folder.path()).into_iter().filter(|path| path.to_string_lossy().contains(".tmp."));
    assert_eq!(leftovers.count(), 0);
}

#[test]
fn a_folder_that_is_no_repository_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |root: std::path::PathBuf| {
        let files = Arc::new(LocalFiles::new(root));
        block_on(DirectoryStore::open(files, Entropy::from_seed([1; 32])))
            .map(drop)
            .map_err(|error| error.kind)
    };
    let root = || folder.path().to_path_buf();
    assert_eq!(open(root()), Err(ErrorKind::NotFound));
    assert_eq!(open(root().join("absent")), Err(ErrorKind::Misconfigured));
    let files = LocalFiles::new(root());
    block_on(files.create_new("photo.jpg", "x".into())).unwrap();
    assert_eq!(open(root()), Err(ErrorKind::Misconfigured));
    let create = || {
        block_on(DirectoryStore::create(Arc::new(LocalFiles::new(root())), Entropy::from_seed([1; 32])))
            .map(drop)
    };
    assert_eq!(create().map_err(|error| error.kind), Err(ErrorKind::Misconfigured));
    block_on(files.unlink("photo.jpg")).unwrap();
    create().unwrap();
    assert_eq!(open(root()), Ok(()));
    std::fs::write(folder.path().join(".shards"), "{").unwrap();
    assert_eq!(open(root()), Err(ErrorKind::Misconfigured));
}
