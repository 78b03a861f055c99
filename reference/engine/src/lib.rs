//! The backup engine: a pure library that reads and writes Kopia's repository format.
//!
//! It is a function of bytes, time and randomness: it knows a [`store::Store`] and a [`tree`], receives
//! clock, chance and identity in a [`context::Context`], and knows nothing of Kubernetes, environment,
//! process or logging set-up. No destructor does input or output: a dropped future leaves what a killed
//! process leaves.
//!
//! Each storey uses those below it and the helpers, never above:
//!
//! | storey | module | identifier | blobs in a bucket listing |
//! |---|---|---|---|
//! | façade | [`repository`] | [`format::UniqueId`] | `kopia.repository` format, `kopia.blobcfg` object lock |
//! | snapshot | [`snapshot`], [`restore`], [`read_back`], [`verify`], [`expire`], [`policy`] | [`snapshot::Source`] | |
//! | maintenance | [`maintain`] | | `kopia.maintenance` schedule and record |
//! | manifest | [`manifest`] | [`manifest::Id`] | contents with prefix `m`, in `q` packs |
//! | object | [`object`] | [`object::Id`] | contents without prefix (`p` packs), `k` and `x` (`q` packs) |
//! | content | [`content`] | [`content::Id`] | `p…`, `q…` packs; `s…` session markers; `xn`, `xs`, `xr` indexes, `xe` epochs, `xw` deletion watermark |
//! | blob | [`blob`] | [`blob::Id`] | any |
//!
//! Helpers: [`format`], [`hash`], [`encrypt`], [`compress`], [`split`]. Seams: [`store`], [`tree`],
//! [`context`], [`monitor`]. Async stands at the store only.

pub mod blob;
pub mod compress;
pub mod content;
pub mod context;
pub mod encrypt;
pub mod error;
pub mod expire;
pub mod format;
pub mod hash;
pub mod maintain;
pub mod manifest;
pub mod monitor;
pub mod object;
pub mod policy;
pub mod read_back;
pub mod repository;
pub mod restore;
pub mod snapshot;
pub mod split;
pub mod store;
pub mod tree;
pub mod verify;

pub use error::{Error, ErrorKind};
pub use format::{CreateOptions, Format, UniqueId};
pub use maintain::{MaintenanceInfo, MaintenanceKind, MaintenanceReport, Safety};
pub use monitor::{Event, Monitor, Silent};
pub use policy::{Policy, PolicyTarget, Retention};
pub use read_back::{Mismatch, MismatchKind};
pub use repository::{Doing, Repository};
pub use restore::{RestoreOptions, Restored};
pub use snapshot::{Backup, BackupOptions, Damage, Failure, Filter, Loss, LossKind, Snapshot, Source};
pub use verify::{VerifyOptions, VerifyReport};
