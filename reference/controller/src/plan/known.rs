//! What earlier runs taught about a repository: its unique id, and whether backups of an identity exist.
//!
//! The mover cannot know; the controller hands it on, so that an empty or exchanged repository is refused
//! and a restore that finds nothing after a first backup never passes silently. Safe profile only.
use api::ReplicationSource;
use api::names as keys;

use crate::identity;
use crate::observed::Observed;
use crate::subject::Subject;

/// Gives the unique id of the repository that the subject is known to use, if any.
///
/// Its own status first, then that of a replication source that uses the same Secret in the same namespace.
/// An id that the annotation `firedrill.dev/forget-repository` names is not known any more.
pub fn repository(observed: &Observed) -> Option<String> {
    let subject = &observed.subject;
    let secret = secret_name(observed);
    let own = subject.known_repository().filter(|(through, _)| *through == secret).map(|(_, id)| id);
    let theirs = || {
        observed
            .siblings
            .iter()
            .filter(|sibling| sibling.metadata.namespace.as_deref() == Some(subject.namespace()))
            .filter_map(|sibling| Subject::Source(sibling.clone()).known_repository())
            .find(|(through, _)| *through == secret)
            .map(|(_, id)| id)
    };
    own.or_else(theirs).filter(|id| subject.annotation(keys::FORGET_REPOSITORY) != Some(id))
}

/// Tells whether a backup of the identity that a destination asks for is known to exist.
pub fn has_backup(observed: &Observed) -> bool {
    let Subject::Destination(destination) = &observed.subject else { return false };
    let restored_before = destination
        .status
        .as_ref()
        .and_then(|status| status.kopia.as_ref())
        .is_some_and(|kopia| kopia.restored_snapshot_id.is_some());
    let wanted = observed.subject.identity(observed.found.as_ref());
    restored_before
        || observed.siblings.iter().any(|sibling| {
            let kopia = sibling.status.as_ref().and_then(|status| status.kopia.as_ref());
            kopia.is_some_and(|kopia| kopia.latest_snapshot_id.is_some())
                && identity_of(sibling).user_at_host() == wanted.user_at_host()
        })
}

fn identity_of(source: &ReplicationSource) -> identity::Identity {
    Subject::Source(source.clone()).identity(None)
}

/// The repository Secret in force: the manifest's, else that of the replication source it names.
pub fn secret_name(observed: &Observed) -> String {
    let own = observed.subject.repository();
    if !own.is_empty() {
        return own.to_owned();
    }
    observed.subject.identity(observed.found.as_ref()).repository.unwrap_or_default()
}
