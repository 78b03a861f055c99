//! What keeps an input from being read at all.
//!
//! Promises file, line and cure in every variant that has one. Whatever concerns one document only
//! is not an error but a [`crate::model::Problem`]: the rest is still read.

use std::path::PathBuf;

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path given by the user cannot be opened.
    #[error("failed to open {path}: give a file or a directory with manifests, or - for standard input")]
    Open {
        /// The path as given.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file stopped being readable half way.
    #[error("failed to read {file} at line {line}")]
    Read {
        /// The file.
        file: String,
        /// The line reached.
        line: u32,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// One document is larger than any manifest can be.
    #[error(
        "{file}:{line}: one YAML document has more than {limit} bytes, more than a cluster would accept: split it with lines of ---, or name only the files that hold manifests"
    )]
    DocumentTooLarge {
        /// The file.
        file: String,
        /// The line on which the document begins.
        line: u32,
        /// The limit in bytes.
        limit: usize,
    },
    /// The input holds more than is sensible to keep.
    #[error(
        "{file}:{line}: the input has more than {limit} bytes of manifests that concern backups: narrow the paths down"
    )]
    InputTooLarge {
        /// The file in which the limit was reached.
        file: String,
        /// The line on which the document begins.
        line: u32,
        /// The limit in bytes.
        limit: usize,
    },
    /// Nothing in the input is a Kubernetes manifest.
    #[error(
        "{paths}: no Kubernetes manifest found in {files} files: name a directory that holds *.yaml with apiVersion and kind, or pipe a renderer's output into -"
    )]
    NoManifests {
        /// The paths as given.
        paths: String,
        /// How many files were looked at.
        files: usize,
    },
}
