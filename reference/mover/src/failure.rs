//! From what the engine says to a reason a Job can end for.
//!
//! One table maps kinds of errors to exit codes; messages keep the whole chain of causes.
use std::io;

use contract::{ExitCode, Failure};
use engine::{Error, ErrorKind, store};
use rustix::io::Errno;

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The reason for an error of a store.
pub fn store_code(kind: store::ErrorKind) -> ExitCode {
    match kind {
        store::ErrorKind::NoSpace => ExitCode::OutOfSpace,
        store::ErrorKind::Misconfigured => ExitCode::Misconfigured,
        store::ErrorKind::NotFound
        | store::ErrorKind::Exists
        | store::ErrorKind::Truncated
        | store::ErrorKind::Denied
        | store::ErrorKind::Stale
        | store::ErrorKind::Io
        | store::ErrorKind::Unavailable => ExitCode::RepositoryUnreachable,
    }
}

/// The reason for an error of the data volume.
pub fn volume_code(operation: &str, error: &io::Error) -> ExitCode {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    if matches!(errno, Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG))
        || error.kind() == io::ErrorKind::StorageFull
    {
        ExitCode::OutOfSpace
    } else if operation.contains("sync") {
        ExitCode::SyncFailed
    } else {
        ExitCode::DataVolume
    }
}

/// The reason for an error of the engine.
pub fn code(error: &Error) -> ExitCode {
    if let Error::Tree { operation, source, .. } = error {
        return volume_code(operation, source);
    }
    match error.kind() {
        ErrorKind::NotARepository | ErrorKind::ForeignData | ErrorKind::NotEmpty => {
            ExitCode::RepositoryMissing
        }
        ErrorKind::WrongPassword => ExitCode::WrongPassword,
        ErrorKind::CorruptFormat
        | ErrorKind::CorruptIndex
        | ErrorKind::CorruptContent
        | ErrorKind::MissingContent
        | ErrorKind::CorruptManifest => ExitCode::RepositoryCorrupt,
        ErrorKind::NotFound | ErrorKind::ClockSkew => ExitCode::Failed,
        ErrorKind::Store(kind) => store_code(kind),
        ErrorKind::Tree => ExitCode::DataVolume,
        ErrorKind::Locked | ErrorKind::Transient => ExitCode::RepositoryUnreachable,
        ErrorKind::Unsupported | ErrorKind::InvalidInput => ExitCode::Misconfigured,
        ErrorKind::NotOwner => ExitCode::MaintenanceForeign,
        ErrorKind::Cancelled => ExitCode::Stopped,
    }
}

/// A failure for an error of the engine; `doing` says what was tried, such as `open the repository`.
pub fn failure(doing: &str, error: &Error) -> Failure {
    Failure::new(code(error), format!("failed to {doing}: {}", chain(error)))
}

/// A failure of the data volume outside the engine.
pub fn volume(doing: &str, error: &io::Error) -> Failure {
    Failure::new(volume_code(doing, error), format!("failed to {doing}: {error}"))
}

#[cfg(test)]
mod tests {
    use engine::tree::Path;

    use super::*;

    #[test]
    fn kinds_become_reasons() {
        let store = |kind| Error::Store(store::Error::new(kind, "put", "p1", "says the store"));
        let tree =
            |operation, errno: Errno| Error::Tree { operation, path: Path::root(), source: errno.into() };
        let check = |error: Error, expected| assert_eq!(code(&error), expected, "{error:?}");
        check(store(store::ErrorKind::NoSpace), ExitCode::OutOfSpace);
        check(store(store::ErrorKind::Stale), ExitCode::RepositoryUnreachable);
        check(tree("sync", Errno::INVAL), ExitCode::SyncFailed);
        check(tree("sync", Errno::NOSPC), ExitCode::OutOfSpace);
        check(tree("write", Errno::IO), ExitCode::DataVolume);
        check(tree("write", Errno::DQUOT), ExitCode::OutOfSpace);
        check(Error::WrongPassword, ExitCode::WrongPassword);
        check(Error::NotARepository, ExitCode::RepositoryMissing);
        check(Error::Cancelled, ExitCode::Stopped);
    }

    #[test]
    fn messages_keep_the_causes() {
        let error = Error::Store(store::Error::new(store::ErrorKind::Io, "get", "p1", "input/output error"));
        assert_eq!(
            failure("open the repository", &error).message,
            "failed to open the repository: the store failed: failed to get blob \"p1\": input/output error"
        );
    }
}
