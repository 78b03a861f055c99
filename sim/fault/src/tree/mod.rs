//! Faults of a volume's file tree: what the kernel and the cluster file system do behind `write`.
//!
//! The volume asks once per file at write-back and once per open; the class is `<character>/<shape>`,
//! such as `cephfs/sparse`. A `Fail` at write-back means: the pages are dropped, the error is latched and
//! shown by the next sync. It does not know what a tree looks like.
pub mod cephfs_write_back_zeroing;
pub mod read_error;
pub mod sparse_region_loss;
