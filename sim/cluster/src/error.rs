//! What can go wrong between this process, the Docker Engine, the build tools and a cluster.
//!
//! Every variant is one sentence that names what is missing or failed and, where there is a cure, the cure.
//! Preconditions ([`Error::is_precondition`]) are what a machine lacks: a test that meets one is skipped with the
//! sentence as its reason; everything else is a failure.

use std::{path::PathBuf, time::Duration};

use testcontainers::bollard;

/// Why an operation of this room did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No engine answers.
    #[error(
        "no Docker Engine answers at {host}: start one (from a checkout, `.ci/docker` does) or set DOCKER_HOST"
    )]
    NoDocker {
        /// Where it was looked for.
        host: String,
        /// What the client said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine is older than what can start a node.
    #[error("Docker Engine {found} is too old to start a privileged node: install {wanted} or newer")]
    OldDocker {
        /// Version of the engine.
        found: String,
        /// The oldest version that was seen to work.
        wanted: &'static str,
    },
    /// Privileged containers are refused or do not have the capabilities a node needs.
    #[error(
        "this Docker Engine cannot run privileged containers ({detail}): use a rootful engine on a machine that allows them"
    )]
    Unprivileged {
        /// What refused.
        detail: String,
    },
    /// The machine's cgroup hierarchy cannot carry a kubelet.
    #[error("the cgroup hierarchy of the engine's machine cannot carry a kubelet: {detail}")]
    Cgroup {
        /// What is missing, and the cure.
        detail: String,
    },
    /// Too little memory is free.
    #[error(
        "{needed_mib} MiB of memory are needed for {what} and {free_mib} MiB are free: stop other work or use a larger machine"
    )]
    Memory {
        /// What the memory is for.
        what: String,
        /// Needed, in MiB.
        needed_mib: u64,
        /// Available, in MiB.
        free_mib: u64,
    },
    /// Too little disk is free.
    #[error(
        "{needed_mib} MiB are needed below {path} for {what} and {free_mib} MiB are free: make room or set XDG_CACHE_HOME to a larger disk"
    )]
    Disk {
        /// Where it was looked.
        path: PathBuf,
        /// What the space is for.
        what: String,
        /// Needed, in MiB.
        needed_mib: u64,
        /// Available, in MiB.
        free_mib: u64,
    },
    /// A published port is in use.
    #[error("port {port} of this machine is taken: choose another, or none to get a free one")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// An image is not there, and nothing will ever pull it.
    #[error("there is no image {name}: {cure}")]
    ImageMissing {
        /// Name and tag.
        name: String,
        /// What makes it.
        cure: String,
    },
    /// A locally built image was made by another version of the recipe.
    #[error(
        "image {name} was built from recipe {found}, this program has recipe {wanted}: build it again with `firedrill images build`"
    )]
    ImageOutdated {
        /// Name and tag.
        name: String,
        /// Digest in the image's label.
        found: String,
        /// Digest of the recipe inside this program.
        wanted: String,
    },
    /// A name that Docker or Kubernetes would refuse.
    #[error(
        "{name:?} cannot name a {what}: use 1 to {length_max} lower-case letters, digits and dashes, a letter first"
    )]
    Name {
        /// What was to be named.
        what: &'static str,
        /// The name.
        name: String,
        /// Longest name allowed.
        length_max: usize,
    },
    /// A container of that name runs, and its owner lives.
    #[error(
        "a container named {name} is there already and belongs to {owner}: wait for it to end or choose another name"
    )]
    NameTaken {
        /// Name of the container.
        name: String,
        /// Who owns it, as far as its labels tell.
        owner: String,
    },
    /// A program of the recipe is not installed.
    #[error("{program} is not installed and {what} needs it: {cure}")]
    Tool {
        /// Name of the program.
        program: &'static str,
        /// What it was wanted for.
        what: &'static str,
        /// How to get it.
        cure: &'static str,
    },
    /// A step of a recipe failed.
    #[error("step {step:?} failed: {detail}; its whole output is in {log}")]
    Step {
        /// Which step.
        step: String,
        /// The last line that says something.
        detail: String,
        /// Where all of it is.
        log: PathBuf,
    },
    /// Only root can do this.
    #[error(
        "{what} needs root: run it with sudo, or build on a machine where you are root and carry the image over"
    )]
    NotRoot {
        /// What needs it.
        what: &'static str,
    },
    /// The engine refused a request.
    #[error("Docker failed to {doing}")]
    Docker {
        /// What was asked.
        doing: String,
        /// Its answer.
        #[source]
        source: Box<bollard::errors::Error>,
    },
    /// A container could not be started.
    #[error("container {name} did not start")]
    Start {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<testcontainers::TestcontainersError>,
    },
    /// A command inside a container ended with another code than 0.
    #[error("`{command}` in {container} ended with {code}: {output}")]
    Command {
        /// Name of the container.
        container: String,
        /// The command, shortened.
        command: String,
        /// Exit code.
        code: i64,
        /// The end of its output.
        output: String,
    },
    /// The run is over.
    #[error("run {run} has ended: nothing can be made in it any more")]
    Ended {
        /// Its id.
        run: String,
    },
    /// A level was not reached in time.
    #[error("waited {} s for {what}, and the last look said: {last}", within.as_secs())]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        within: Duration,
        /// What the last look saw.
        last: String,
    },
    /// The cluster has no such node, or the run no such container.
    #[error("there is no {what} named {name}: there are {there:?}")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is there.
        there: Vec<String>,
    },
    /// A node came back with another address, which its certificates do not name.
    #[error(
        "node {node} had address {before} and came back with {after}: its certificates name the former, make a new cluster"
    )]
    AddressChanged {
        /// The node.
        node: String,
        /// Address before the restart.
        before: String,
        /// Address after it.
        after: String,
    },
    /// An answer that is not what its protocol promises.
    #[error("{what} is not readable: {detail}")]
    Unreadable {
        /// What was read.
        what: String,
        /// Why it makes no sense.
        detail: String,
    },
    /// A file of this machine.
    #[error("failed to {doing} {path}")]
    File {
        /// What was to be done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A certificate could not be made.
    #[error("failed to make a certificate for {name}")]
    Certificate {
        /// The subject.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
}

impl Error {
    /// Says whether the machine lacks something, in contrast to something having failed.
    pub fn is_precondition(&self) -> bool {
        matches!(
            self,
            Self::NoDocker { .. }
                | Self::OldDocker { .. }
                | Self::Unprivileged { .. }
                | Self::Cgroup { .. }
                | Self::Memory { .. }
                | Self::Disk { .. }
                | Self::ImageMissing { .. }
                | Self::ImageOutdated { .. }
                | Self::Tool { .. }
                | Self::NotRoot { .. }
        )
    }

    pub(crate) fn docker(doing: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Docker { doing, source: Box::new(source) }
    }

    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}

/// Prints an error with all its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = inner.source();
    }
    text
}
