//! File handles: what a client holds for a file, good across restarts of the server.
//!
//! The handle of what was mounted names only the file system and the path (as with Linux's `fsid=` export option),
//! so it shows whatever directory the export shows; every other handle names an inode by device, number and time of birth, so that a
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
    /// What was mounted: a path beneath the export, whichever directory that shows.
    Mounted(MountPath),
    /// An inode of the directory shown.
    Inode(Inode),
}

/// A path that was mounted, short enough for a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountPath {
    length: usize,
    bytes: [u8; PATH_BYTES_MAX],
}

/// What a handle of 64 bytes has left.
const PATH_BYTES_MAX: usize = 48;

impl MountPath {
    /// The export itself.
    pub const ROOT: Self = Self { length: 0, bytes: [0; PATH_BYTES_MAX] };
    /// A path without slashes around it; `None` if it is too long.
    pub fn new(path: &[u8]) -> Option<Self> {
        let mut short = Self { length: path.len(), ..Self::ROOT };
        short.bytes.get_mut(..path.len())?.copy_from_slice(path);
        Some(short)
    }
    /// The names on the way.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes[..self.length].split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }
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
const MOUNTED: u8 = 0;
const INODE: u8 = 1;

impl Handle {
    /// As it travels: version, kind, two zeros, then the numbers, big-endian.
    pub fn pack(self) -> nfs_fh3 {
        let mut bytes = vec![VERSION, MOUNTED, 0, 0];
        bytes.extend(self.fsid.to_be_bytes());
        match self.target {
            Target::Mounted(path) => bytes.extend(&path.bytes[..path.length]),
            Target::Inode(inode) => {
                bytes[1] = INODE;
                bytes.extend(inode.device.to_be_bytes());
                bytes.extend(inode.number.to_be_bytes());
                bytes.extend(inode.birth.to_be_bytes());
            }
        }
        nfs_fh3 { data: Opaque::owned(bytes) }
    }
    /// Reads one; `None` for what this server never gave.
    pub fn unpack(handle: &nfs_fh3) -> Option<Self> {
        let (head, numbers) = handle.data.split_first_chunk::<4>()?;
        let (fsid, rest) = numbers.split_first_chunk::<8>()?;
        let target = match (*head, rest.as_chunks::<8>()) {
            ([VERSION, MOUNTED, 0, 0], _) => Target::Mounted(MountPath::new(rest)?),
            ([VERSION, INODE, 0, 0], ([device, number, birth], [])) => Target::Inode(Inode {
                device: u64::from_be_bytes(*device),
                number: u64::from_be_bytes(*number),
                birth: i64::from_be_bytes(*birth),
            }),
            _ => return None,
        };
        Some(Self { fsid: u64::from_be_bytes(*fsid), target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_read_as_it_was_written_and_garbage_is_none() {
        let inode = Inode { device: 1, number: u64::MAX, birth: -5 };
        let path = MountPath::new(&[b'a'; PATH_BYTES_MAX]).unwrap();
        for target in [Target::Mounted(MountPath::ROOT), Target::Mounted(path), Target::Inode(inode)] {
            let handle = Handle { fsid: 77, target };
            let mut packed = handle.pack();
            assert_eq!(Handle::unpack(&packed), Some(handle));
            assert!(packed.data.len() <= 64, "NFS3_FHSIZE");
            packed.data.0.to_mut()[0] = 9;
            assert_eq!(Handle::unpack(&packed), None);
        }
        assert_eq!(Handle::unpack(&nfs_fh3::default()), None);
        assert_eq!(MountPath::new(&[b'a'; PATH_BYTES_MAX + 1]), None);
        assert_eq!(MountPath::new(b"a//b").unwrap().names().collect::<Vec<_>>(), [b"a", b"b"]);
    }
}
