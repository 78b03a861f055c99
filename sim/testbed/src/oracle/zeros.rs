//! Finds files that read as zeros where the bed wrote something else.
//!
//! The signature of lost data pages: name, size and times are right, the bytes are NUL. A whole file, or a
//! block-aligned run inside one, is reported when the ledger's file was not all zeros. Needs a mount that
//! does not share the writer's cache.
//!
//! # Does not check
//! Bytes that are wrong but not zero, attributes, missing files ([`super::restore`] does); runs inside
//! files whose length differs; files that the ledger does not know.
use std::{io, ops::Range};

use engine::tree::{Kind, Path, ReadTree};
use sha2::{Digest as _, Sha256};

use crate::ledger::Entry;

/// The shortest run that is told; shorter ones occur in honest data.
pub const RUN_BYTES_MIN: u64 = 4096;
const STEP: usize = 4096;

/// A file that reads as zeros where it should not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zeroed {
    /// The file.
    pub path: Path,
    /// The runs of zeros, whole steps of 4096 bytes.
    pub runs: Vec<Range<u64>>,
    /// Whether no other byte is left.
    pub whole: bool,
}

/// Reads every file of the tree that the ledger knows with other bytes, and tells the zeros in it.
///
/// # Errors
/// Those of the tree.
pub fn find(tree: &dyn ReadTree, expected: &Entry) -> io::Result<Vec<Zeroed>> {
    let mut found = Vec::new();
    for (path, attributes) in expected.paths.iter().filter(|(_, attributes)| attributes.kind == Kind::File) {
        let entry = match tree.entry(path) {
            Ok(entry) if entry.kind == Kind::File && entry.size == attributes.size && entry.size > 0 => entry,
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let (runs, digest) = scan(&mut *tree.open(path)?)?;
        if Some(digest) != attributes.sha256 && !runs.is_empty() {
            let whole = runs.iter().map(|run| run.end - run.start).sum::<u64>() == entry.size;
            found.push(Zeroed { path: path.clone(), runs, whole });
        }
    }
    Ok(found)
}

fn scan(reader: &mut dyn io::Read) -> io::Result<(Vec<Range<u64>>, [u8; 32])> {
    let (mut runs, mut hash) = (Vec::<Range<u64>>::new(), Sha256::new());
    let mut position = 0;
    let mut buffer = [0; STEP];
    loop {
        let mut filled = 0;
        while filled < STEP {
            match reader.read(&mut buffer[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        let step = &buffer[..filled];
        hash.update(step);
        if filled > 0 && step.iter().all(|byte| *byte == 0) {
            match runs.last_mut() {
                Some(run) if run.end == position => run.end += filled as u64,
                _ => runs.push(position..position + filled as u64),
            }
        }
        position += filled as u64;
        if filled < STEP {
            // A file shorter than a run may be zero as a whole.
            runs.retain(|run| run.end - run.start >= RUN_BYTES_MIN.min(position));
            return Ok((runs, hash.finalize().into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::tree::WriteTree as _;
    use fault::{Register, tree};
    use jiff::Timestamp;
    use scenario::tree::{Special, TreeSpec};

    use super::*;
    use crate::{
        ledger::Ledger,
        volume::{Character, MountOptions, Volume},
    };

    /// Copies a tree file by file through a mount, as a restore does.
    fn copied(from: &Volume, character: Character, register: &Register) -> (Volume, io::Result<()>) {
        let to = Volume::new("copy", character, Arc::new(|| Timestamp::UNIX_EPOCH));
        let (source, target) =
            (from.mount(MountOptions::new("s")), to.mount(MountOptions::new("d").register(register.clone())));
        for (path, attributes) in Ledger::new().record(from).paths.iter() {
            match attributes.kind {
                Kind::Directory => target.create_dir(path, 0o755).unwrap(),
                Kind::File => {
                    let mut bytes = Vec::new();
                    source.open(path).unwrap().read_to_end(&mut bytes).unwrap();
                    target.create_file(path, 0o644).unwrap().write_at(0, &bytes).unwrap();
                }
                _ => {}
            }
        }
        let synced = target.sync();
        (to, synced)
    }
    fn source() -> Volume {
        let volume = Volume::new("v", Character::Rbd, Arc::new(|| Timestamp::UNIX_EPOCH));
        volume.populate(&TreeSpec::plain(8, 1 << 20, 7).with(Special::Holes)).unwrap();
        volume
    }

    #[test]
    fn dropped_pages_are_found_by_a_fresh_mount_only() {
        let register = Register::new(1);
        let id = register.arm(tree::cephfs_write_back_zeroing::Spec::default());
        let from = source();
        let entry = Ledger::new().record(&from);
        let (to, synced) = copied(&from, Character::CephFs, &register);
        assert_eq!(synced.unwrap_err().raw_os_error(), Some(22));
        let zeroed = find(&to.mount(MountOptions::new("fresh")), &entry).unwrap();
        assert_eq!((zeroed.len() as u64, zeroed.iter().all(|file| file.whole)), (8, true));
        assert_eq!(register.firings(id), 8);
        register.lift(id);
        let (to, synced) = copied(&from, Character::CephFs, &register);
        assert!(synced.is_ok() && find(&to.mount(MountOptions::new("fresh")), &entry).unwrap().is_empty());
    }

    #[test]
    fn sparse_loss_strikes_the_sparse_file_on_cephfs_and_says_nothing() {
        let register = Register::new(1);
        register.arm(tree::sparse_region_loss::Spec::default());
        let from = source();
        let entry = Ledger::new().record(&from);
        for (character, lost) in [(Character::CephFs, 1), (Character::Rbd, 0)] {
            let (to, synced) = copied(&from, character, &register);
            assert!(synced.is_ok());
            assert_eq!(
                find(&to.mount(MountOptions::new("fresh")), &entry).unwrap().len(),
                lost,
                "{character}"
            );
        }
    }

    #[test]
    fn honest_zeros_are_not_told() {
        let volume = source();
        volume
            .edit(|tree, now| {
                let content = crate::volume::content::Content::from_bytes(vec![0; 20_000].into());
                let node = crate::volume::Node::File(content.into());
                tree.insert(&Path::new("zeros"), crate::volume::Inode::new(node, 0o644, (0, 0), now))
            })
            .unwrap();
        let entry = Ledger::new().record(&volume);
        assert!(find(&volume.mount(MountOptions::new("fresh")), &entry).unwrap().is_empty());
    }
}
