//! File handles: what a client holds for a file, good across restarts of the server.
//!
//! The root's handle names only the file system (as with Linux's `fsid=` export option), so it shows whatever
//! directory the export shows; every other handle names an inode by device, number and time of birth, so that a
//! number given again to a new file is not taken for the old one. Nothing is kept on disk: an inode that is not
//! in the index is looked for in the tree.
use nfs3_types::{nfs3::nfs_fh3, xdr_codec::Opaque};

/// An inode, whatever its names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inode {
    /// The device, as the kernel numbers it.
    pub device: u64,
    /// The inode's number there.
    pub number: u64,
    /// Its birth in nanoseconds; 0 where the file system tells none.
    pub birth: i64,
}

/// What a handle points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The root of the export, whichever directory it shows.
    Root,
    /// An inode of the directory shown.
    Inode(Inode),
}

/// A handle, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The file system it was given for; another one makes it stale.
    pub fsid: u64,
    /// What it points to.
    pub target: Target,
}

const VERSION: u8 = 1;
const ROOT: u8 = 0;
const INODE: u8 = 1;

impl Handle {
    /// As it travels: version, kind, two zeros, then the numbers, big-endian.
    pub fn pack(self) -> nfs_fh3 {
        let mut bytes = vec![VERSION, ROOT, 0, 0];
        bytes.extend(self.fsid.to_be_bytes());
        if let Target::Inode(inode) = self.target {
            bytes[1] = INODE;
            bytes.extend(inode.device.to_be_bytes());
            bytes.extend(inode.number.to_be_bytes());
            bytes.extend(inode.birth.to_be_bytes());
        }
        nfs_fh3 { data: Opaque::owned(bytes) }
    }
    /// Reads one; `None` for what this server never gave.
    pub fn unpack(handle: &nfs_fh3) -> Option<Self> {
        let (head, numbers) = handle.data.split_first_chunk::<4>()?;
        let (numbers, rest) = numbers.as_chunks::<8>();
        let number = |at: usize| u64::from_be_bytes(numbers[at]);
        let target = match (*head, numbers.len(), rest.is_empty()) {
            ([VERSION, ROOT, 0, 0], 1, true) => Target::Root,
            ([VERSION, INODE, 0, 0], 4, true) => {
                Target::Inode(Inode { device: number(1), number: number(2), birth: number(3).cast_signed() })
            }
            _ => return None,
        };
        Some(Self { fsid: number(0), target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_read_as_it_was_written_and_garbage_is_none() {
        let inode = Inode { device: 1, number: u64::MAX, birth: -5 };
        for target in [Target::Root, Target::Inode(inode)] {
            let handle = Handle { fsid: 77, target };
            let mut packed = handle.pack();
            assert_eq!(Handle::unpack(&packed), Some(handle));
            assert!(packed.data.len() <= 64, "NFS3_FHSIZE");
            packed.data.0.to_mut().push(0);
            assert_eq!(Handle::unpack(&packed), None);
            packed.data.0.to_mut()[0] = 9;
            assert_eq!(Handle::unpack(&packed), None);
        }
        assert_eq!(Handle::unpack(&nfs_fh3::default()), None);
    }
}
