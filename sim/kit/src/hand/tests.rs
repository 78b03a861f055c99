//! A tree that is read out and planted elsewhere is the same tree.
use std::{os::unix::fs::symlink, path::Path};

use super::*;

fn sent(root: &Path) -> Vec<u8> {
    let mut stream = Vec::new();
    read(&Directory::open(root).unwrap(), &mut stream, true).unwrap();
    stream
}

fn grown(root: &Path) {
    std::fs::create_dir(root.join("d")).unwrap();
    std::fs::write(root.join("d/f"), vec![7; 200_000]).unwrap();
    std::fs::hard_link(root.join("d/f"), root.join("second")).unwrap();
    symlink("d/f", root.join("link")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 1 << 19).unwrap();
}

#[test]
fn a_tree_read_out_and_planted_elsewhere_is_the_same_tree() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    grown(from.path());
    std::fs::write(to.path().join("in the way"), b"x").unwrap();
    let stream = sent(from.path());
    let written = write(&Directory::open(to.path()).unwrap(), &stream[..], false, true).unwrap();
    assert!(written.left_out.is_empty() && written.received.items == 6, "{written:?}");
    assert!(sent(to.path()) == stream, "the copy sends another stream than the original");
    std::fs::write(to.path().join("d/f"), vec![8; 200_000]).unwrap();
    assert!(sent(to.path()) != stream, "a comparison that cannot fail");
}

#[test]
fn a_cut_stream_is_an_error_and_says_so() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    grown(from.path());
    let stream = sent(from.path());
    let cut = &stream[..stream.len() / 2];
    let error = write(&Directory::open(to.path()).unwrap(), cut, false, true).unwrap_err();
    assert!(error.to_string().contains("without its tail"), "{error}");
}

#[test]
fn changes_leave_the_rest_alone() {
    let to = tempfile::tempdir().unwrap();
    grown(to.path());
    let mut stream = Vec::new();
    let mut writer = Writer::new(&mut stream, Scope::Changes).unwrap();
    writer.remove("d".into()).unwrap();
    writer.remove("never/was".into()).unwrap_or(());
    writer.finish().unwrap();
    // A parent that is not there is an error of the file system, not of the stream.
    let result = write(&Directory::open(to.path()).unwrap(), &stream[..], false, true);
    assert!(result.is_err() || !to.path().join("d").exists());
    assert!(!to.path().join("d").exists() && to.path().join("second").exists());
}
