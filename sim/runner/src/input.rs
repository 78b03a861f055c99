//! Finds scenarios: in files and directories, or embedded in the binary.
//!
//! Given paths are read; without any, `features/` and `scenarios/` of the working directory, and where
//! they are absent the ones embedded when the binary was built. Promises scenarios in a fixed order (by
//! file, then as written) and, for everything that cannot be read, one error with file, line and cure.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use scenario::{Scenario, yaml};

use crate::feature;

/// `features/` and `scenarios/` as they were when the binary was built.
pub const EMBEDDED: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// No scenario file is anywhere near as large; what is was meant for something else.
const BYTES_MAX: u64 = 4 << 20;

/// A scenario and where it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The file.
    pub file: PathBuf,
    /// The scenario.
    pub scenario: Scenario,
}

/// Why no scenarios can be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory cannot be read.
    #[error("{}: cannot be read; check that it exists and that you may read it", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no text.
    #[error("{}: is no UTF-8 text; scenarios are .feature and .yaml files", path.display())]
    Text {
        /// Which.
        path: PathBuf,
    },
    /// A file is far too large.
    #[error("{}: {bytes} bytes are too large for a scenario (at most {BYTES_MAX}); manifests go to `firedrill drill`", path.display())]
    Large {
        /// Which.
        path: PathBuf,
        /// How large.
        bytes: u64,
    },
    /// A file has an ending that is none of ours.
    #[error("{}: is no .feature, .yaml or .yml file", path.display())]
    Ending {
        /// Which.
        path: PathBuf,
    },
    /// A directory holds no scenario.
    #[error("{}: holds no .feature or .yaml file", path.display())]
    Nothing {
        /// Which.
        path: PathBuf,
    },
    /// A feature is wrong.
    #[error(transparent)]
    Feature(#[from] feature::Error),
    /// A YAML file is wrong.
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    /// Two scenarios make the same claim.
    #[error("{}: the scenario {name:?} stands in {} as well; a claim is made once", second.display(), first.display())]
    Twice {
        /// The claim.
        name: String,
        /// Where first.
        first: PathBuf,
        /// Where again.
        second: PathBuf,
    },
}

/// Loads the scenarios of these paths, or the default ones.
///
/// # Errors
/// The first file that is wrong.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    if paths.is_empty() {
        let local: Vec<_> =
            ["features", "scenarios"].into_iter().map(PathBuf::from).filter(|path| path.is_dir()).collect();
        if local.is_empty() {
            for (path, text) in EMBEDDED {
                read_text(Path::new(path), text, &mut found)?;
            }
        }
        for path in local {
            read_directory(&path, &mut found)?;
        }
    }
    for path in paths {
        let meta = fs::metadata(path).map_err(|source| Error::Read { path: path.clone(), source })?;
        if meta.is_dir() {
            let before = found.len();
            read_directory(path, &mut found)?;
            if found.len() == before {
                return Err(Error::Nothing { path: path.clone() });
            }
        } else {
            read_file(path, &mut found)?;
        }
    }
    unique(&found)?;
    Ok(found)
}

fn unique(found: &[Found]) -> Result<(), Error> {
    let mut names = BTreeMap::new();
    for one in found {
        let claim = (&one.scenario.feature, &one.scenario.name);
        if let Some(first) = names.insert(claim, &one.file) {
            let (name, first, second) = (one.scenario.name.clone(), first.clone(), one.file.clone());
            return Err(Error::Twice { name, first, second });
        }
    }
    Ok(())
}

fn read_directory(path: &Path, found: &mut Vec<Found>) -> Result<(), Error> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let entries = fs::read_dir(path).map_err(fail)?;
    let mut entries =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(fail)?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            read_directory(&entry, found)?;
        } else if is_ours(&entry) {
            read_file(&entry, found)?;
        }
    }
    Ok(())
}

fn is_ours(path: &Path) -> bool {
    matches!(path.extension().and_then(|ending| ending.to_str()), Some("feature" | "yaml" | "yml"))
}

fn read_file(path: &Path, found: &mut Vec<Found>) -> Result<(), Error> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    if !is_ours(path) {
        return Err(Error::Ending { path: path.to_owned() });
    }
    let bytes = fs::metadata(path).map_err(fail)?.len();
    if bytes > BYTES_MAX {
        return Err(Error::Large { path: path.to_owned(), bytes });
    }
    let bytes = fs::read(path).map_err(fail)?;
    let text = String::from_utf8(bytes).map_err(|_| Error::Text { path: path.to_owned() })?;
    read_text(path, &text, found)
}

fn read_text(path: &Path, text: &str, found: &mut Vec<Found>) -> Result<(), Error> {
    let scenarios = if path.extension().is_some_and(|ending| ending == "feature") {
        feature::read(path, text)?
    } else {
        let mut scenarios = yaml::read(path, text)?;
        for scenario in scenarios.iter_mut().filter(|scenario| scenario.feature.is_empty()) {
            let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
            scenario.feature = folder.to_string_lossy().into_owned();
        }
        scenarios
    };
    found.extend(scenarios.into_iter().map(|scenario| Found { file: path.to_owned(), scenario }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, bytes: &[u8], words: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = load(&[path]).unwrap_err();
        let mut chain = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(next) = source {
            chain.push_str(&format!(": {next}"));
            source = next.source();
        }
        assert!(chain.contains(words) && chain.contains(name), "{chain}");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_cure() {
        check("a.yaml", b"scenario: [", ":1");
        check("a.yaml", b"", "empty");
        check("a.yaml", b"scenario: x\nsteps: []\n", "no steps");
        check("a.yaml", b"scenario: x\ncolour: red\nsteps: []\n", "colour");
        check("a.yaml", b"scenario: x\nseed: many\nsteps: []\n", ":2");
        check("a.yaml", b"scenario: x\nsteps:\n- then: {claim-empty: a/b/c}\n", "no name");
        check("a.yaml", b"\xff\xfe", "UTF-8");
        check("a.txt", b"", ".feature");
        check("a.yaml", &vec![b' '; (BYTES_MAX + 1) as usize], "too large");
        check("a.feature", b"Feature: f\nScenario: s\nGiven a horse\n", ":3");
    }

    #[test]
    fn an_empty_directory_and_an_absent_one_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(load(&[folder.path().to_owned()]), Err(Error::Nothing { .. })));
        assert!(matches!(load(&[folder.path().join("absent")]), Err(Error::Read { .. })));
    }

    #[test]
    fn a_claim_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.yaml", "b.yaml"] {
            fs::write(folder.path().join(name), "scenario: x\nsteps:\n- then: {claim-empty: a}\n").unwrap();
        }
        assert!(matches!(load(&[folder.path().to_owned()]), Err(Error::Twice { .. })));
    }
}
