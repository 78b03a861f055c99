//! What every store promises, as one body run over each of them.
//!
//! The arms of this file need nothing; `tests/s3.rs` runs the same body against S3 servers.

#[path = "support/promises.rs"]
mod promises;
mod support;

use std::sync::Arc;

use engine::{
    blob::bucket::BucketStore,
    blob::directory::{DirectoryStore, Files as _, LocalFiles},
    context::Entropy,
    store::{ErrorKind, Store as _},
};
use object_store::memory::InMemory;
use promises::keeps_the_promises;
use support::{Bed, block_on};

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
fn any_object_store_keeps_the_promises() {
    block_on(keeps_the_promises(&BucketStore::new(Arc::new(InMemory::new()), "")));
    let shared = Arc::new(InMemory::new());
    let (one, other) = (BucketStore::new(shared.clone(), "a/b/"), BucketStore::new(shared, "a/"));
    block_on(keeps_the_promises(&one));
    assert_eq!(block_on(other.list("")).unwrap(), [], "what lies below another prefix is no blob");
    // In parts, too: one body, another way to write.
    let parts = BucketStore::new(Arc::new(InMemory::new()), "").with_parts(3, 2);
    block_on(keeps_the_promises(&parts));
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
