//! What keeps a sync from going on, in the original's words.
//!
//! The texts appear as the message of the `Error` condition; users, dashboards and the suite match them, so
//! they are typed here once. Source: section 2.8 of the behaviour specification.
use crate::cron;

/// Why a reconcile cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A named object is missing.
    #[error("{kind} \"{name}\" not found")]
    NotFound {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// No method, or several.
    #[error("a replication method must be specified - enabled movers: [kopia]")]
    NoMethod,
    /// More than one method.
    #[error("only one replication method can be supplied")]
    ManyMethods,
    /// Half an identity on a replication destination.
    #[error("the identity is incomplete: '{given}' is given, missing '{missing}'")]
    HalfIdentity {
        /// The field that is there.
        given: &'static str,
        /// The field that is not.
        missing: &'static str,
    },
    /// A copy method that does not exist for the kind.
    #[error("unsupported copyMethod: {given} -- must be {allowed}")]
    CopyMethod {
        /// What the manifest says, may be empty.
        given: &'static str,
        /// What it may say.
        allowed: &'static str,
    },
    /// A destination claim cannot be made without modes.
    #[error("accessModes must be provided when destinationPVC is not")]
    AccessModes,
    /// A destination claim cannot be made without a size.
    #[error("capacity must be provided when destinationPVC is not")]
    Capacity,
    /// The point-in-time copy is not there yet (the original reports that as an error).
    #[error("data PVC not available (possibly waiting for copy trigger)")]
    CopyNotAvailable,
    /// A Secret or ConfigMap with fewer keys than wanted.
    #[error("{holder} should have fields: [{}]", fields.join(" "))]
    Fields {
        /// `secret` or `configmap`.
        holder: &'static str,
        /// The keys that are wanted.
        fields: Vec<String>,
    },
    /// A Secret or ConfigMap without a wanted key.
    #[error("{holder} is missing field: {field}")]
    Field {
        /// `secret` or `configmap`.
        holder: &'static str,
        /// The key.
        field: String,
    },
    /// A mover volume without a mount path.
    #[error("moverVolume mount path cannot be empty")]
    MountPathEmpty,
    /// A mount path of several elements.
    #[error("moverVolume mount path cannot contain path separators: {path}")]
    MountPathSeparators {
        /// The path.
        path: String,
    },
    /// A mount path that climbs.
    #[error("moverVolume mount path cannot contain path traversal: {path}")]
    MountPathTraversal {
        /// The path.
        path: String,
    },
    /// Two sources of policy files.
    #[error("only one of secretName or configMapName can be specified for policy configuration")]
    PolicyTwice,
    /// A source of policy files that is missing.
    #[error("failed to get policy configuration {holder}: {kind} \"{name}\" not found")]
    PolicyMissing {
        /// `secret` or `configmap`.
        holder: &'static str,
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// `repositoryConfig` is no JSON.
    #[error("invalid JSON in repositoryConfig")]
    PolicyJson,
    /// `repositoryConfig` is too long.
    #[error("policy configuration too large ({bytes} bytes, max 1048576)")]
    PolicyLarge {
        /// Its length.
        bytes: usize,
    },
    /// A node that cannot be selected.
    #[error("unable to find kubernetes.io/hostname label from node {node} for nodeSelector")]
    HostnameLabel {
        /// The node.
        node: String,
    },
    /// The Job's template changed; it was deleted.
    #[error("unable to update object. Deleting object so it can be recreated")]
    TemplateChanged,
    /// A Job that completed without telling what it did (safe profile).
    #[error("the mover Job completed, but does not say what it did: {what}")]
    NoOutcome {
        /// What is missing.
        what: String,
    },
    /// A schedule that the definition's pattern lets through and the parser does not.
    #[error(transparent)]
    Cron(#[from] cron::Error),
}

impl Obstacle {
    /// A missing object.
    pub fn not_found(kind: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { kind, name: name.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_original_s() {
        fn check(obstacle: &Obstacle, expected: &str) {
            assert_eq!(obstacle.to_string(), expected);
        }
        check(&Obstacle::not_found("PersistentVolumeClaim", "x"), "PersistentVolumeClaim \"x\" not found");
        check(&Obstacle::not_found("Secret", ""), "Secret \"\" not found");
        check(
            &Obstacle::CopyMethod { given: "", allowed: "Direct, None, Clone, or Snapshot" },
            "unsupported copyMethod:  -- must be Direct, None, Clone, or Snapshot",
        );
        check(
            &Obstacle::CopyMethod { given: "Clone", allowed: "Direct, None, or Snapshot" },
            "unsupported copyMethod: Clone -- must be Direct, None, or Snapshot",
        );
        check(&Obstacle::AccessModes, "accessModes must be provided when destinationPVC is not");
        check(&Obstacle::Capacity, "capacity must be provided when destinationPVC is not");
        check(&Obstacle::CopyNotAvailable, "data PVC not available (possibly waiting for copy trigger)");
        check(
            &Obstacle::Fields {
                holder: "secret",
                fields: vec!["KOPIA_REPOSITORY".into(), "KOPIA_PASSWORD".into()],
            },
            "secret should have fields: [KOPIA_REPOSITORY KOPIA_PASSWORD]",
        );
        check(
            &Obstacle::Field { holder: "secret", field: "KOPIA_REPOSITORY".into() },
            "secret is missing field: KOPIA_REPOSITORY",
        );
        check(
            &Obstacle::MountPathSeparators { path: "a/b".into() },
            "moverVolume mount path cannot contain path separators: a/b",
        );
        check(&Obstacle::PolicyLarge { bytes: 7 }, "policy configuration too large (7 bytes, max 1048576)");
        check(
            &Obstacle::PolicyMissing { holder: "secret", kind: "Secret", name: "p".into() },
            "failed to get policy configuration secret: Secret \"p\" not found",
        );
        check(
            &Obstacle::HostnameLabel { node: "n1".into() },
            "unable to find kubernetes.io/hostname label from node n1 for nodeSelector",
        );
        check(&Obstacle::TemplateChanged, "unable to update object. Deleting object so it can be recreated");
        check(&Obstacle::NoMethod, "a replication method must be specified - enabled movers: [kopia]");
        check(&Obstacle::ManyMethods, "only one replication method can be supplied");
    }
}
