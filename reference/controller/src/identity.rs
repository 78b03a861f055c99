//! Identities under which snapshots stand in a repository: `user@host:path`.
//!
//! Derived from names of Kubernetes objects, or given. Pure functions; the look-up of a replication source
//! is the observer's. Source: section 3.9 of the behaviour specification.
use api::crd::{KopiaDestination, KopiaSource, ReplicationSource};
use contract::identity::{sanitise_hostname, sanitise_username};

/// Who a mover is in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User name.
    pub username: String,
    /// Host name.
    pub hostname: String,
    /// A path other than `/data`.
    pub path_override: Option<String>,
    /// Repository Secret found through the replication source (ID-3).
    pub repository: Option<String>,
}

impl Identity {
    /// Prints `user@host`.
    pub fn user_at_host(&self) -> String {
        format!("{}@{}", self.username, self.hostname)
    }
}

/// Derives the identity of a replication source.
pub fn of_source(name: &str, namespace: &str, kopia: &KopiaSource) -> Identity {
    Identity {
        username: given(kopia.username.as_ref()).unwrap_or_else(|| sanitise_username(name)),
        hostname: given(kopia.hostname.as_ref()).unwrap_or_else(|| sanitise_hostname(namespace, name)),
        path_override: given(kopia.source_path_override.as_ref()),
        repository: None,
    }
}

/// Derives the identity that a replication destination asks for.
///
/// `found` is the replication source that `sourceIdentity` names, if it was looked up and exists; see
/// [`wants_look_up`].
pub fn of_destination(
    name: &str,
    namespace: &str,
    kopia: &KopiaDestination,
    found: Option<&ReplicationSource>,
) -> Identity {
    let wanted = kopia.source_identity.as_ref();
    let source_name = wanted.and_then(|wanted| given(wanted.source_name.as_ref()));
    let source_namespace = wanted.and_then(|wanted| given(wanted.source_namespace.as_ref()));
    let found = found.and_then(|source| source.spec.kopia.as_ref());
    // With an explicit host name the identity of the source is not consulted for the path (ID-4).
    let explicit = given(kopia.hostname.as_ref());
    let path_override = if explicit.is_some() {
        None
    } else {
        wanted
            .and_then(|wanted| given(wanted.source_path_override.as_ref()))
            .or_else(|| found.and_then(|found| given(found.source_path_override.as_ref())))
    };
    let from = source_name.as_deref().unwrap_or(name);
    Identity {
        username: given(kopia.username.as_ref()).unwrap_or_else(|| sanitise_username(from)),
        hostname: explicit
            .unwrap_or_else(|| sanitise_hostname(source_namespace.as_deref().unwrap_or(namespace), from)),
        path_override,
        repository: found.and_then(|found| given(found.repository.as_ref())),
    }
}

/// Tells which replication source has to be read for a destination's identity: `(namespace, name)`.
pub fn wants_look_up(namespace: &str, kopia: &KopiaDestination) -> Option<(String, String)> {
    let wanted = kopia.source_identity.as_ref()?;
    if given(kopia.hostname.as_ref()).is_some() || given(wanted.source_pvc_name.as_ref()).is_some() {
        return None;
    }
    let name = given(wanted.source_name.as_ref())?;
    Some((given(wanted.source_namespace.as_ref()).unwrap_or_else(|| namespace.to_owned()), name))
}

fn given(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

#[cfg(test)]
mod tests {
    use api::crd::{ReplicationSourceSpec, SourceIdentity};

    use super::*;

    #[test]
    fn sources_are_known_by_their_names() {
        fn check(name: &str, namespace: &str, expected: &str) {
            assert_eq!(of_source(name, namespace, &KopiaSource::default()).user_at_host(), expected);
        }
        check("app", "t1", "app@t1");
        check("my.app", "t1", "myapp@t1");
        check("-_-", "t1", "volsync-default@t1");
        check(&"x".repeat(60), "t1", &format!("{}@t1", "x".repeat(50)));
        check("app", "a_b", "app@a-b");
        check("app", "_", "app@app");
    }

    #[test]
    fn given_names_are_used_as_they_are_and_each_alone() {
        let kopia = KopiaSource { username: Some("Some.One".into()), ..KopiaSource::default() };
        assert_eq!(of_source("app", "t1", &kopia).user_at_host(), "Some.One@t1");
    }

    fn destination(identity: SourceIdentity) -> KopiaDestination {
        KopiaDestination { source_identity: Some(identity), ..KopiaDestination::default() }
    }

    #[test]
    fn destinations_ask_for_their_own_name_unless_told() {
        let own = of_destination("app-dst", "t1", &KopiaDestination::default(), None);
        assert_eq!(own.user_at_host(), "app-dst@t1");
        let named = destination(SourceIdentity {
            source_name: Some("app".into()),
            source_namespace: Some("t2".into()),
            ..SourceIdentity::default()
        });
        assert_eq!(of_destination("app-dst", "t1", &named, None).user_at_host(), "app@t2");
    }

    #[test]
    fn a_found_source_lends_its_path_and_repository() {
        let mut found = ReplicationSource::new("app", ReplicationSourceSpec::default());
        found.spec.kopia = Some(KopiaSource {
            source_path_override: Some("/var/lib/app".into()),
            repository: Some("main".into()),
            ..KopiaSource::default()
        });
        let mut kopia =
            destination(SourceIdentity { source_name: Some("app".into()), ..SourceIdentity::default() });
        assert_eq!(wants_look_up("t1", &kopia), Some(("t1".into(), "app".into())));
        let identity = of_destination("app-dst", "t1", &kopia, Some(&found));
        assert_eq!(identity.path_override.as_deref(), Some("/var/lib/app"));
        assert_eq!(identity.repository.as_deref(), Some("main"));
        // ID-4: an explicit host name switches both off.
        kopia.username = Some("app".into());
        kopia.hostname = Some("elsewhere".into());
        assert_eq!(wants_look_up("t1", &kopia), None);
        assert_eq!(of_destination("app-dst", "t1", &kopia, Some(&found)).path_override, None);
    }

    #[test]
    fn naming_the_claim_switches_the_look_up_off() {
        let kopia = destination(SourceIdentity {
            source_name: Some("app".into()),
            source_pvc_name: Some("data".into()),
            ..SourceIdentity::default()
        });
        assert_eq!(wants_look_up("t1", &kopia), None);
    }
}
