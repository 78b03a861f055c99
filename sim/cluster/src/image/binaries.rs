//! Static programs out of a checkout of the workspace, for images that hold nothing else.
//!
//! cargo builds them, each package by itself so that its features are its own, into a target directory of its own
//! below the cache; cargo also decides what is fresh. An installed program without a checkout has no sources: its
//! user names images instead.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command as Process,
};

use crate::{
    Error, cache,
    image::architecture,
    progress::Monitor,
    recipe::{Kitchen, require},
};

/// The checkout this program was built from, if it is still there.
pub fn checkout() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?.to_owned();
    root.join("Cargo.lock").exists().then_some(root)
}

/// Builds packages of a checkout in release as static programs, and gives each package's program.
///
/// # Errors
/// cargo is missing, a build fails (with its log), or a program came out that needs a loader.
pub async fn static_binaries(
    checkout: &Path,
    packages: &[&str],
    monitor: &Monitor,
) -> Result<BTreeMap<String, PathBuf>, Error> {
    require("cargo", "building static programs", "install Rust with rustup, or name images of the programs")?;
    let target = target();
    let directory = cache::root().join("programs");
    let kitchen = Kitchen::open(directory.clone(), 1, monitor.clone()).await?;
    // One build for all: what they share is compiled once, with the features that all of them want.
    let mut cargo = tokio::process::Command::new("cargo");
    cargo.args(["build", "--locked", "--profile", PROFILE, "--target", &target]);
    for package in packages {
        cargo.args(["--package", package, "--bin", package]);
    }
    cargo
        .arg("--target-dir")
        .arg(directory.join("target"))
        .current_dir(checkout)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("CARGO_TERM_COLOR", "never")
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    kitchen.always(&format!("build {} as static programs", packages.join(", ")), cargo).await?;
    let mut programs = BTreeMap::new();
    for package in packages {
        let program = directory.join("target").join(&target).join(PROFILE).join(package);
        require_static(&program)?;
        programs.insert((*package).to_owned(), program);
    }
    Ok(programs)
}

/// The workspace's profile for programs that stand beside a cluster: soon built, small, and fast enough there.
const PROFILE: &str = "beside";

/// musl where it is installed, because it is smaller; else glibc, whose name service is inside since 2.34.
fn target() -> String {
    let processor = std::env::consts::ARCH;
    let musl = format!("{processor}-unknown-linux-musl");
    let installed = Process::new("rustc").args(["--print", "target-libdir", "--target", &musl]).output();
    let installed = installed.ok().filter(|output| output.status.success());
    let library = installed.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    // A C compiler for musl is needed as well: zstd is C.
    if library.is_some_and(|path| Path::new(&path).exists()) && crate::recipe::on_path("musl-gcc").is_some() {
        return musl;
    }
    format!("{processor}-unknown-linux-gnu")
}

/// Sees that an ELF program names no loader.
fn require_static(program: &Path) -> Result<(), Error> {
    let bytes = fs::read(program).map_err(Error::file("read", program))?;
    if is_static(&bytes) == Some(true) {
        return Ok(());
    }
    Err(Error::Unreadable {
        what: program.display().to_string(),
        detail: format!("it is not a static program for {}", architecture()),
    })
}

/// Says whether a 64-bit little-endian ELF file has no segment that names a loader (PT_INTERP, 3); none for other files.
fn is_static(bytes: &[u8]) -> Option<bool> {
    let number = |at: usize, width: usize| {
        let field = bytes.get(at..at + width)?;
        Some(field.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size, count) = (number(32, 8)? as usize, number(54, 2)? as usize, number(56, 2)? as usize);
    let kinds: Option<Vec<_>> = (0..count).map(|n| number(table + n * size, 4)).collect();
    Some(!kinds?.contains(&3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header of 64 bytes with program headers of these kinds behind it.
    fn elf(kinds: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01".to_vec();
        bytes.resize(64, 0);
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = kinds.len() as u8;
        for kind in kinds {
            bytes.push(*kind);
            bytes.resize(bytes.len() + 55, 0);
        }
        bytes
    }

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        assert_eq!(is_static(&elf(&[6, 1, 1])), Some(true));
        assert_eq!(is_static(&elf(&[6, 3, 1])), Some(false));
        assert_eq!(is_static(b"#!/bin/sh"), None);
        assert_eq!(is_static(&elf(&[1])[..66]), None, "cut off");
        let this = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(is_static(&this), Some(false), "tests are linked dynamically");
    }

    #[test]
    fn a_checkout_has_a_lock_file() {
        assert!(checkout().unwrap().join("sim/cluster").exists());
    }
}
