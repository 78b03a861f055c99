//! What a mover needs besides volumes: account, Secret, certificate authority, policy files, extra volumes.
//!
//! Pure checks in the original's order, with its texts (sections 2.6, 2.8 and 3.3 of the behaviour
//! specification).
use std::collections::BTreeSet;

use api::crd::MoverVolume;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject as BindingSubject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::act::Act;
use crate::names;
use crate::observed::Observed;
use crate::obstacle::Obstacle;

/// Longest policy configuration in a manifest.
const POLICY_BYTES_MAX: usize = 1 << 20;

/// Plans the account and its role; gives the account's name.
pub fn account(observed: &Observed, acts: &mut Vec<Act>) -> Result<String, Obstacle> {
    let subject = &observed.subject;
    if let Some(given) = subject.mover().mover_service_account.filter(|name| !name.is_empty()) {
        return if observed.account.is_some() {
            Ok(given)
        } else {
            Err(Obstacle::not_found("ServiceAccount", given))
        };
    }
    let name = names::account(subject.role(), subject.name());
    let metadata = ObjectMeta {
        name: Some(name.clone()),
        namespace: Some(subject.namespace().into()),
        labels: Some(subject.labels(false)),
        owner_references: Some(vec![subject.owner()]),
        ..ObjectMeta::default()
    };
    if observed.account.is_none() {
        acts.push(Act::create(ServiceAccount { metadata: metadata.clone(), ..ServiceAccount::default() }));
    }
    if !observed.has_role {
        let rules = observed.is_privileged.then(|| {
            vec![PolicyRule {
                api_groups: Some(vec!["security.openshift.io".into()]),
                resource_names: Some(vec!["volsync-privileged-mover".into()]),
                resources: Some(vec!["securitycontextconstraints".into()]),
                verbs: vec!["use".into()],
                ..PolicyRule::default()
            }]
        });
        acts.push(Act::create(Role { metadata: metadata.clone(), rules }));
    }
    if !observed.has_binding {
        acts.push(Act::create(RoleBinding {
            metadata,
            role_ref: RoleRef {
                api_group: "rbac.authorization.k8s.io".into(),
                kind: "Role".into(),
                name: name.clone(),
            },
            subjects: Some(vec![BindingSubject {
                kind: "ServiceAccount".into(),
                name: name.clone(),
                namespace: Some(subject.namespace().into()),
                ..BindingSubject::default()
            }]),
        }));
    }
    Ok(name)
}

/// Checks the mount path of a mover volume: one path element.
pub fn mount_path(volume: &MoverVolume) -> Result<(), Obstacle> {
    let path = &volume.mount_path;
    if path.is_empty() {
        return Err(Obstacle::MountPathEmpty);
    }
    if path.contains(['/', '\\']) {
        return Err(Obstacle::MountPathSeparators { path: path.clone() });
    }
    if path.contains("..") {
        return Err(Obstacle::MountPathTraversal { path: path.clone() });
    }
    Ok(())
}

/// Names the object that a mover volume needs: kind and name; none for NFS.
pub fn needed(volume: &MoverVolume) -> Option<(&'static str, String)> {
    let source = &volume.volume_source;
    if let Some(claim) = &source.persistent_volume_claim {
        return Some(("PersistentVolumeClaim", claim.claim_name.clone()));
    }
    source.secret.as_ref().map(|secret| ("Secret", secret.secret_name.clone().unwrap_or_default()))
}

/// Checks mover volumes, repository Secret, certificate authority and policy files.
pub fn check(observed: &Observed, repository: &str) -> Result<(), Obstacle> {
    for volume in observed.subject.mover().mover_volumes.unwrap_or_default() {
        mount_path(&volume)?;
        if let Some((kind, name)) = needed(&volume)
            && !observed.mover_volumes.get(&(kind, name.clone())).copied().unwrap_or_default()
        {
            return Err(Obstacle::NotFound { kind, name });
        }
    }
    let Some(keys) = &observed.secret_keys else { return Err(Obstacle::not_found("Secret", repository)) };
    fields("secret", keys, &["KOPIA_REPOSITORY", "KOPIA_PASSWORD"])?;
    if let Some(custom_ca) = observed.subject.custom_ca() {
        let secret = custom_ca.secret_name.filter(|name| !name.is_empty());
        let (kind, holder, name) = match secret {
            Some(name) => ("Secret", "secret", name),
            None => ("ConfigMap", "configmap", custom_ca.config_map_name.unwrap_or_default()),
        };
        let Some(keys) = &observed.custom_ca_keys else { return Err(Obstacle::NotFound { kind, name }) };
        fields(holder, keys, &[custom_ca.key.as_deref().unwrap_or_default()])?;
    }
    policy(observed)
}

/// Checks that a holder has keys: too few are told as a list, a missing one by name.
fn fields(holder: &'static str, keys: &BTreeSet<String>, wanted: &[&str]) -> Result<(), Obstacle> {
    if keys.len() < wanted.len() {
        return Err(Obstacle::Fields {
            holder,
            fields: wanted.iter().map(|field| (*field).to_owned()).collect(),
        });
    }
    match wanted.iter().find(|field| !keys.contains(**field)) {
        Some(field) => Err(Obstacle::Field { holder, field: (*field).to_owned() }),
        None => Ok(()),
    }
}

fn policy(observed: &Observed) -> Result<(), Obstacle> {
    let Some(config) = observed.subject.policy_config() else { return Ok(()) };
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    match (given(&config.secret_name), given(&config.config_map_name)) {
        (Some(_), Some(_)) => return Err(Obstacle::PolicyTwice),
        (Some(name), None) if !observed.has_policy_files => {
            return Err(Obstacle::PolicyMissing { holder: "secret", kind: "Secret", name });
        }
        (None, Some(name)) if !observed.has_policy_files => {
            return Err(Obstacle::PolicyMissing { holder: "configmap", kind: "ConfigMap", name });
        }
        _ => {}
    }
    if let Some(text) = given(&config.repository_config) {
        if text.len() > POLICY_BYTES_MAX {
            return Err(Obstacle::PolicyLarge { bytes: text.len() });
        }
        if serde_json::from_str::<serde_json::Value>(&text).is_err() {
            return Err(Obstacle::PolicyJson);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_paths_are_one_element() {
        let check = |path: &str, expected: &str| {
            let volume = MoverVolume { mount_path: path.into(), ..MoverVolume::default() };
            let said = mount_path(&volume).err().map(|obstacle| obstacle.to_string()).unwrap_or_default();
            assert_eq!(said, expected);
        };
        check("repository", "");
        check("", "moverVolume mount path cannot be empty");
        check("a/b", "moverVolume mount path cannot contain path separators: a/b");
        check("a..b", "moverVolume mount path cannot contain path traversal: a..b");
    }

    #[test]
    fn missing_keys_are_told_as_the_original_does() {
        let check = |keys: &[&str], expected: &str| {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            let said = fields("secret", &keys, &["KOPIA_REPOSITORY", "KOPIA_PASSWORD"]);
            assert_eq!(said.err().map(|obstacle| obstacle.to_string()).unwrap_or_default(), expected);
        };
        check(&["KOPIA_PASSWORD", "KOPIA_REPOSITORY"], "");
        check(&["KOPIA_PASSWORD"], "secret should have fields: [KOPIA_REPOSITORY KOPIA_PASSWORD]");
        check(&["KOPIA_PASSWORD", "X"], "secret is missing field: KOPIA_REPOSITORY");
        check(&["KOPIA_REPOSITORY", "X"], "secret is missing field: KOPIA_PASSWORD");
    }
}
