//! The object that a reconcile is about: a replication source or destination with the Kopia mover.
//!
//! One view over both kinds, so that volumes, pods and the state machine are written once. Holds what the
//! API server said and nothing else.
use api::crd::{CacheOptions, CustomCa, MoverConfig, PolicyConfig, SyncStatus, VolumeOptions};
use api::names;
use api::{ReplicationDestination, ReplicationSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::BTreeMap;

use crate::obstacle::Obstacle;
use crate::{Profile, identity};

/// Which end of a replication an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Backs up.
    Source,
    /// Restores.
    Destination,
}

impl Role {
    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
    /// The word for a mover's operation in metrics.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Source => "backup",
            Self::Destination => "restore",
        }
    }
}

/// A replication object.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A ReplicationSource.
    Source(ReplicationSource),
    /// A ReplicationDestination.
    Destination(ReplicationDestination),
}

/// Which method a manifest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// The Kopia mover, alone.
    Kopia,
    /// Another controller's business.
    Foreign,
    /// Something that no controller can do.
    Wrong(Obstacle),
}

impl Subject {
    /// Which end it is.
    pub fn role(&self) -> Role {
        match self {
            Self::Source(_) => Role::Source,
            Self::Destination(_) => Role::Destination,
        }
    }
    /// Its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Source(_) => "ReplicationSource",
            Self::Destination(_) => "ReplicationDestination",
        }
    }
    /// Its metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Source(source) => &source.metadata,
            Self::Destination(destination) => &destination.metadata,
        }
    }
    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }
    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }
    /// Its uid.
    pub fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }
    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata().annotations.as_ref()?.get(key).map(String::as_str)
    }
    /// Its trigger.
    pub fn trigger(&self) -> Option<&api::Trigger> {
        match self {
            Self::Source(source) => source.spec.trigger.as_ref(),
            Self::Destination(destination) => destination.spec.trigger.as_ref(),
        }
    }
    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        match self {
            Self::Source(source) => source.spec.paused,
            Self::Destination(destination) => destination.spec.paused,
        }
        .unwrap_or_default()
    }
    /// The shared part of its status; empty before the first write.
    pub fn sync(&self) -> SyncStatus {
        match self {
            Self::Source(source) => source.status.as_ref().map(|status| status.sync.clone()),
            Self::Destination(destination) => destination.status.as_ref().map(|status| status.sync.clone()),
        }
        .unwrap_or_default()
    }
    /// Its volume options.
    pub fn volume(&self) -> VolumeOptions {
        match self {
            Self::Source(source) => source.spec.kopia.as_ref().map(|kopia| kopia.volume.clone()),
            Self::Destination(destination) => {
                destination.spec.kopia.as_ref().map(|kopia| kopia.volume.clone())
            }
        }
        .unwrap_or_default()
    }
    /// Its cache options.
    pub fn cache(&self) -> CacheOptions {
        match self {
            Self::Source(source) => source.spec.kopia.as_ref().map(|kopia| kopia.cache.clone()),
            Self::Destination(destination) => {
                destination.spec.kopia.as_ref().map(|kopia| kopia.cache.clone())
            }
        }
        .unwrap_or_default()
    }
    /// Its mover's settings.
    pub fn mover(&self) -> MoverConfig {
        match self {
            Self::Source(source) => source.spec.kopia.as_ref().map(|kopia| kopia.mover.clone()),
            Self::Destination(destination) => {
                destination.spec.kopia.as_ref().map(|kopia| kopia.mover.clone())
            }
        }
        .unwrap_or_default()
    }
    /// Its certificate authority, if one is in force: a key and a holder are named.
    pub fn custom_ca(&self) -> Option<CustomCa> {
        let custom_ca = match self {
            Self::Source(source) => source.spec.kopia.as_ref()?.custom_ca.clone(),
            Self::Destination(destination) => destination.spec.kopia.as_ref()?.custom_ca.clone(),
        }?;
        let named = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let holder = named(&custom_ca.secret_name) || named(&custom_ca.config_map_name);
        (named(&custom_ca.key) && holder).then_some(custom_ca)
    }
    /// Its policy files.
    pub fn policy_config(&self) -> Option<PolicyConfig> {
        match self {
            Self::Source(source) => source.spec.kopia.as_ref()?.policy_config.clone(),
            Self::Destination(destination) => destination.spec.kopia.as_ref()?.policy_config.clone(),
        }
    }
    /// The repository Secret that its manifest names.
    pub fn repository(&self) -> &str {
        match self {
            Self::Source(source) => source.spec.kopia.as_ref().and_then(|kopia| kopia.repository.as_deref()),
            Self::Destination(destination) => {
                destination.spec.kopia.as_ref().and_then(|kopia| kopia.repository.as_deref())
            }
        }
        .unwrap_or_default()
    }
    /// Its identity in the repository, given the replication source it names, if that was found.
    pub fn identity(&self, found: Option<&ReplicationSource>) -> identity::Identity {
        match self {
            Self::Source(source) => identity::of_source(
                self.name(),
                self.namespace(),
                &source.spec.kopia.clone().unwrap_or_default(),
            ),
            Self::Destination(destination) => identity::of_destination(
                self.name(),
                self.namespace(),
                &destination.spec.kopia.clone().unwrap_or_default(),
                found,
            ),
        }
    }
    /// Cache limits of the last successful Job, metadata and content.
    pub fn configured_limits(&self) -> (Option<i32>, Option<i32>) {
        match self {
            Self::Source(source) => {
                source.status.as_ref().and_then(|status| status.kopia.as_ref()).map(|kopia| {
                    (
                        kopia.last_configured_metadata_cache_size_limit_mb,
                        kopia.last_configured_content_cache_size_limit_mb,
                    )
                })
            }
            Self::Destination(destination) => {
                destination.status.as_ref().and_then(|status| status.kopia.as_ref()).map(|kopia| {
                    (
                        kopia.last_configured_metadata_cache_size_limit_mb,
                        kopia.last_configured_content_cache_size_limit_mb,
                    )
                })
            }
        }
        .unwrap_or_default()
    }
    /// The repository known from earlier runs: the Secret it was seen through, and its unique id.
    pub fn known_repository(&self) -> Option<(String, String)> {
        let (secret, id) = match self {
            Self::Source(source) => {
                let kopia = source.status.as_ref()?.kopia.as_ref()?;
                (kopia.repository_secret.clone(), kopia.repository_id.clone())
            }
            Self::Destination(destination) => {
                let kopia = destination.status.as_ref()?.kopia.as_ref()?;
                (kopia.repository_secret.clone(), kopia.repository_id.clone())
            }
        };
        Some((secret?, id?))
    }
    /// The reference that makes created objects its own.
    pub fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: names::API_VERSION.into(),
            block_owner_deletion: Some(true),
            controller: Some(true),
            kind: self.kind().into(),
            name: self.name().into(),
            uid: self.uid().into(),
        }
    }
    /// The label that marks everything created for it, and the one for what goes at the end of a sync.
    pub fn labels(&self, temporary: bool) -> BTreeMap<String, String> {
        let mut labels =
            BTreeMap::from([(names::CREATED_BY.to_owned(), names::CREATED_BY_VOLSYNC.to_owned())]);
        if temporary {
            labels.insert(names::CLEANUP.into(), self.uid().into());
        }
        labels
    }

    /// Decides whether the manifest is ours (section 2.2 of the behaviour specification).
    pub fn method(&self, profile: Profile) -> Method {
        let (kopia, other, external) = match self {
            Self::Source(source) => {
                let spec = &source.spec;
                (spec.kopia.is_some(), spec.other.present(), spec.external.is_some())
            }
            Self::Destination(destination) => {
                let spec = &destination.spec;
                (spec.kopia.is_some(), spec.other.present(), spec.external.is_some())
            }
        };
        match (kopia, other.len(), external) {
            (false, 0, true) => return Method::Foreign,
            (false, _, false) => return Method::Wrong(Obstacle::NoMethod),
            (true, 0, false) => {}
            (true, 0, true) | (false, 1, true) => return Method::Wrong(Obstacle::ManyMethods),
            // The original's second check overwrites the message of its first.
            (_, _, _) if profile.is_original() => return Method::Wrong(Obstacle::NoMethod),
            (_, _, _) => return Method::Wrong(Obstacle::ManyMethods),
        }
        if let Self::Destination(destination) = self
            && let Some(kopia) = &destination.spec.kopia
        {
            let named = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
            let half = match (named(&kopia.username), named(&kopia.hostname)) {
                (true, false) => Some(Obstacle::HalfIdentity { given: "username", missing: "hostname" }),
                (false, true) => Some(Obstacle::HalfIdentity { given: "hostname", missing: "username" }),
                _ => None,
            };
            if let Some(half) = half {
                return Method::Wrong(if profile.is_original() { Obstacle::NoMethod } else { half });
            }
        }
        Method::Kopia
    }
}

#[cfg(test)]
mod tests {
    use api::crd::{
        External, KopiaDestination, KopiaSource, ReplicationDestinationSpec, ReplicationSourceSpec,
    };

    use super::*;

    #[test]
    fn methods_are_told_apart() {
        let check = |kopia: bool, restic: bool, external: bool, profile: Profile, expected: Method| {
            let mut spec = ReplicationSourceSpec {
                kopia: kopia.then(KopiaSource::default),
                external: external.then(External::default),
                ..ReplicationSourceSpec::default()
            };
            spec.other.restic = restic.then(|| serde_json::json!({}));
            let subject = Subject::Source(ReplicationSource::new("a", spec));
            assert_eq!(subject.method(profile), expected, "{kopia} {restic} {external}");
        };
        for profile in [Profile::Safe, Profile::Original] {
            check(true, false, false, profile, Method::Kopia);
            check(false, false, true, profile, Method::Foreign);
            check(false, false, false, profile, Method::Wrong(Obstacle::NoMethod));
            check(true, false, true, profile, Method::Wrong(Obstacle::ManyMethods));
        }
        check(true, true, false, Profile::Original, Method::Wrong(Obstacle::NoMethod));
        check(true, true, false, Profile::Safe, Method::Wrong(Obstacle::ManyMethods));
    }

    #[test]
    fn half_an_identity_is_named_unless_the_original_is_wanted() {
        let spec = ReplicationDestinationSpec {
            kopia: Some(KopiaDestination { username: Some("u".into()), ..KopiaDestination::default() }),
            ..ReplicationDestinationSpec::default()
        };
        let subject = Subject::Destination(ReplicationDestination::new("a", spec));
        assert_eq!(subject.method(Profile::Original), Method::Wrong(Obstacle::NoMethod));
        let Method::Wrong(obstacle) = subject.method(Profile::Safe) else {
            panic!("half an identity is wrong")
        };
        assert!(obstacle.to_string().contains("missing 'hostname'"), "{obstacle}");
    }
}
