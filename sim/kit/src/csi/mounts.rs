//! What this process has mounted: FUSE sessions by target, and bind mounts that only the kernel remembers.
//!
//! All mounts of a volume share its capacity and hold still together while it is copied. Whether something is
//! mounted is asked of the kernel, never remembered.
use std::{
    collections::BTreeMap,
    io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, RwLockWriteGuard},
};

use fault::Register;
use rustix::mount::{MountFlags, UnmountFlags};

use super::{Character, inventory::Record};
use crate::fuse::{Session, View, Volume};

type Key = (String, String);

/// What this process has mounted.
pub struct Mounts {
    register: Register,
    has_fuse: bool,
    volumes: Mutex<BTreeMap<Key, Arc<Volume>>>,
    sessions: Mutex<BTreeMap<PathBuf, Mounted>>,
}

struct Mounted {
    key: Key,
    object: String,
    session: Session,
}

/// Where a volume is shown, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p> {
    /// The mount point.
    pub target: &'p Path,
    /// Who acts there, for faults.
    pub actor: &'p str,
    /// Whether nothing may be changed through it.
    pub read_only: bool,
}

/// A volume that can be held still; holds nothing by itself.
pub struct Still(Option<Arc<Volume>>);

impl Still {
    /// Keeps every mount of the volume from changing it until the guard is dropped.
    pub fn hold(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        self.0.as_ref().map(|volume| volume.hold())
    }
}

impl Mounts {
    /// Nothing mounted yet; `has_fuse` says whether this process can mount through FUSE.
    pub fn new(register: Register, has_fuse: bool) -> Self {
        Self { register, has_fuse, volumes: Mutex::default(), sessions: Mutex::default() }
    }
    /// Whether volumes can be mounted through FUSE here.
    pub fn has_fuse(&self) -> bool {
        self.has_fuse
    }

    /// Mounts a driver's volume through FUSE at a place.
    pub fn mount(
        &self,
        (driver, character): (&str, Character),
        record: &Record,
        data: &Path,
        place: &Place<'_>,
    ) -> io::Result<()> {
        let key = (driver.to_owned(), record.handle.clone());
        let volume = {
            let mut volumes = lock(&self.volumes);
            let limit = (character != Character::HostPath).then_some(record.bytes);
            if let Some(volume) = volumes.get(&key) {
                volume.resize(limit);
                Arc::clone(volume)
            } else {
                let volume = Arc::new(Volume::open(data, limit)?);
                volumes.insert(key.clone(), Arc::clone(&volume));
                volume
            }
        };
        let view = View {
            actor: place.actor.to_owned(),
            character: character.name().to_owned(),
            // A block device's file system says ENOSPC at once; CephFS clients keep pages and write back.
            has_write_back: character == Character::CephFs,
            full: if character == Character::CephFs {
                rustix::io::Errno::DQUOT
            } else {
                rustix::io::Errno::NOSPC
            },
            read_only: place.read_only,
            register: self.register.clone(),
        };
        // Its mount was taken away by others.
        let stale = lock(&self.sessions).remove(place.target);
        if let Some(mounted) = stale {
            mounted.session.join();
        }
        let session = Session::mount(volume, place.target, view)?;
        let mounted = Mounted { key, object: record.object.clone(), session };
        lock(&self.sessions).insert(place.target.to_owned(), mounted);
        Ok(())
    }

    /// Shows a directory at another place.
    pub fn bind(&self, from: &Path, target: &Path, read_only: bool) -> io::Result<()> {
        rustix::mount::mount_bind(from, target)?;
        if read_only {
            let flags = MountFlags::BIND | MountFlags::RDONLY;
            if let Err(error) = rustix::mount::mount_remount(target, flags, c"") {
                rustix::mount::unmount(target, UnmountFlags::empty())?;
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Unmounts whatever is at a target, and ends its FUSE session; nothing there is fine.
    pub fn unmount(&self, target: &Path) -> io::Result<()> {
        while is_mounted(target)? {
            rustix::mount::unmount(target, UnmountFlags::NOFOLLOW)?;
        }
        let ended = lock(&self.sessions).remove(target);
        if let Some(mounted) = ended {
            mounted.session.join();
            let mut volumes = lock(&self.volumes);
            if !lock(&self.sessions).values().any(|other| other.key == mounted.key) {
                volumes.remove(&mounted.key);
            }
        }
        Ok(())
    }

    /// Changes the capacity that mounts of a volume show and keep.
    pub fn resize(&self, driver: &str, handle: &str, bytes: u64) {
        if let Some(volume) = lock(&self.volumes).get(&(driver.to_owned(), handle.to_owned())) {
            volume.resize(Some(bytes));
        }
    }

    /// Lets mounts write back what they keep, and gives what holds the volume still.
    pub fn hold_still(&self, driver: &str, handle: &str) -> Still {
        let key = (driver.to_owned(), handle.to_owned());
        let targets: Vec<PathBuf> = lock(&self.sessions)
            .iter()
            .filter(|(_, mounted)| mounted.key == key)
            .map(|(target, _)| target.clone())
            .collect();
        for target in targets {
            // A write-back error is the writer's to hear; what was dropped is not in the copy.
            let _ = crate::fuse::sync(&target);
        }
        Still(lock(&self.volumes).get(&key).cloned())
    }

    /// Lets mounts of the volumes that fit the pattern forget cached bytes, and tells how many there were.
    pub fn evict(&self, pattern: &str) -> u64 {
        let sessions = lock(&self.sessions);
        let fitting = sessions.values().filter(|mounted| {
            let claim = mounted.object.rsplit('/').next().unwrap_or_default();
            [claim, &mounted.object, &mounted.key.1].iter().any(|name| fault::aim::matches(pattern, name))
        });
        fitting.map(|mounted| mounted.session.evict()).count() as u64
    }
}

/// Whether a path is a mount point, as the kernel tells.
pub fn is_mounted(path: &Path) -> io::Result<bool> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let mut points =
        table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    Ok(points.any(|point| unescaped(point) == path))
}

/// The kernel writes blanks, tabs, line ends and backslashes as three octal digits.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of a lock of the mounts panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        assert_eq!(unescaped(br"/a\040b\134c"), PathBuf::from(r"/a b\c"));
        assert_eq!(unescaped(br"/plain\9"), PathBuf::from(r"/plain\9"));
        assert!(is_mounted(Path::new("/proc")).unwrap());
        assert!(!is_mounted(Path::new("/proc/self")).unwrap());
    }
}
