//! The programs of this workspace, for tests that need them as processes.
//!
//! Promises a program that is not older than its sources: one that cargo has built already is taken if
//! its dependency file says so, else cargo is asked to build it. `cargo test` makes the programs of the packages it
//! tests as well, but no dependency files of them: those are taken if nothing in the workspace is newer. Asking cargo
//! for one alone would compile a second time much of what it is made of, with other features. A release build is never
//! started unless `FIREDRILL_REQUIRE` contains `release`: nobody's `cargo test` should take minutes by surprise.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

/// How a program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// With checks; what `cargo test` builds.
    Debug,
    /// Optimised.
    Release,
}

impl Profile {
    const fn folder(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

/// The root of the workspace.
///
/// # Panics
/// If the package does not lie in it.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

/// A part of the environment that a run insists on, as in `FIREDRILL_REQUIRE=release,kopia`.
pub fn is_required(what: &str) -> bool {
    env::var("FIREDRILL_REQUIRE").is_ok_and(|list| list.split([',', ' ']).any(|one| one == what))
}

/// A program of a package, built if it must be.
///
/// # Errors
/// Why there is none: a release build that nobody asked for.
/// # Panics
/// If cargo cannot build it.
pub fn program(package: &str, name: &str, profile: Profile) -> Result<PathBuf, String> {
    let path = target().join(profile.folder()).join(name);
    if is_up_to_date(&path, &SOURCES.map(|source| root().join(source))) {
        return Ok(path);
    }
    if profile == Profile::Release && !is_required("release") {
        return Err(format!(
            "there is no release build of {name} as new as its sources; FIREDRILL_REQUIRE=release makes one"
        ));
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root())
        .args(["build", "--quiet", "--package", package, "--bin", name, "--target-dir"])
        .arg(target());
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    let ended = cargo.status().expect("cargo runs");
    assert!(ended.success(), "cargo could not build {name}: {ended}");
    Ok(path)
}

/// The target directory that this test was built into.
fn target() -> PathBuf {
    let own = env::current_exe().expect("a test knows where it is");
    // target/<profile>/deps/<test>
    own.ancestors().nth(3).expect("tests lie in target/<profile>/deps").to_owned()
}

/// Where the sources of programs lie, what is embedded into them included.
const SOURCES: [&str; 6] = ["Cargo.lock", "Cargo.toml", "reference", "sim", "features", "scenarios"];

/// When a file was written, or the newest file below a directory; none for what is not there.
fn modified(path: &Path) -> Option<SystemTime> {
    if !path.is_dir() {
        return fs::metadata(path).ok()?.modified().ok();
    }
    fs::read_dir(path).ok()?.filter_map(|entry| modified(&entry.ok()?.path())).max()
}

/// Whether a program is as new as everything that its dependency file names, or, without one, as all of `sources`.
fn is_up_to_date(path: &Path, sources: &[PathBuf]) -> bool {
    let Some(built) = modified(path) else { return false };
    let Ok(list) = fs::read_to_string(path.with_extension("d")) else {
        return sources.iter().all(|source| modified(source).is_some_and(|time| time <= built));
    };
    let Some((_, sources)) = list.split_once(':') else { return false };
    // Spaces within a name are written with a backslash.
    let sources = sources.replace("\\ ", "\0");
    sources
        .split_whitespace()
        .all(|source| modified(Path::new(&source.replace('\0', " "))).is_some_and(|time| time <= built))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_stale_when_a_source_is_newer_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 33);
        let touch = |name: &str| {
            fs::File::options().write(true).open(at(name)).unwrap().set_modified(later).unwrap();
        };
        fs::create_dir_all(at("sources/below")).unwrap();
        fs::write(at("sources/below/one.rs"), "").unwrap();
        let sources = [at("sources")];
        assert!(!is_up_to_date(&at("program"), &sources), "there is none");
        fs::write(at("a source.rs"), "").unwrap();
        fs::write(at("program"), "").unwrap();
        assert!(is_up_to_date(&at("program"), &sources), "nothing is newer");
        assert!(!is_up_to_date(&at("program"), &[at("sources"), at("gone")]), "a source is not there");
        touch("sources/below/one.rs");
        assert!(!is_up_to_date(&at("program"), &sources), "a source below is newer");
        let list = format!(
            "{}: {}",
            at("program").display(),
            at("a source.rs").display().to_string().replace(' ', "\\ ")
        );
        fs::write(at("program.d"), list).unwrap();
        assert!(is_up_to_date(&at("program"), &sources), "the dependency file counts, where there is one");
        touch("a source.rs");
        assert!(!is_up_to_date(&at("program"), &sources), "the source is newer");
        fs::remove_file(at("a source.rs")).unwrap();
        assert!(!is_up_to_date(&at("program"), &sources), "the source is gone");
    }
}
