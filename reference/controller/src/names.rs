//! Names of the objects that the controller creates.
//!
//! Users, admission policies and dashboards match on them, so they are the original's to the letter.
//! Source: sections 3.1, 5.2 and 5.5 of the behaviour specification.
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::Role;

/// Longest name of a Job, because it becomes a label value.
const JOB_NAME_MAX: usize = 63;
/// Longest value of a label.
const LABEL_VALUE_MAX: usize = 63;
/// How much of a KopiaMaintenance's name its CronJob bears.
const MAINTENANCE_NAME_MAX: usize = 34;

/// Names the mover's Job of a replication object: `volsync-src-<name>`, or the prefix and the CRC-32 of the
/// name where that would be too long.
pub fn job(role: Role, name: &str) -> String {
    let full = account(role, name);
    if full.len() <= JOB_NAME_MAX {
        return full;
    }
    account(role, &format!("{:08x}", crc32fast::hash(name.as_bytes())))
}

/// Names the ServiceAccount, Role and RoleBinding; never shortened.
pub fn account(role: Role, name: &str) -> String {
    match role {
        Role::Source => format!("volsync-src-{name}"),
        Role::Destination => format!("volsync-dst-{name}"),
    }
}

/// Names the point-in-time VolumeSnapshot and claim of a replication source.
pub fn copy(name: &str) -> String {
    format!("volsync-{name}-src")
}

/// Names the claim that a replication destination creates.
pub fn destination(name: &str) -> String {
    format!("volsync-{name}-dest")
}

/// Names the cache claim.
pub fn cache(role: Role, name: &str) -> String {
    format!("{}-cache", account(role, name))
}

/// Names an image snapshot: the claim and the second it was asked for.
pub fn image(claim: &str, at: Timestamp) -> String {
    format!("{claim}-{}", at.strftime("%Y%m%d%H%M%S"))
}

/// Names the prime claim of a claim being populated.
pub fn prime(claim_uid: &str) -> String {
    format!("vs-prime-{claim_uid}")
}

/// A name as a label's value: as it is, or its beginning and the CRC-32 of all of it where a label cannot hold
/// it. Names of claims and custom resources may have 253 characters, values of labels 63.
pub fn label_value(name: &str) -> String {
    if name.len() <= LABEL_VALUE_MAX {
        return name.to_owned();
    }
    let cut: String = name.chars().take(LABEL_VALUE_MAX - 9).collect();
    format!("{}-{:08x}", cut.trim_end_matches(['.', '-']), crc32fast::hash(name.as_bytes()))
}

/// Names the CronJob of a KopiaMaintenance.
pub fn maintenance_cron_job(namespace: &str, name: &str) -> String {
    let cut: String = name.chars().take(MAINTENANCE_NAME_MAX).collect();
    format!("kopia-maint-{cut}-{}", digest(&format!("{namespace}/{name}")))
}

/// Names the Job of a manual maintenance tag.
pub fn maintenance_job(namespace: &str, name: &str, tag: &str) -> String {
    format!("kopia-maint-manual-{}", digest(&format!("{namespace}/{name}/{tag}")))
}

/// Names the cache claim of a KopiaMaintenance.
pub fn maintenance_cache(name: &str) -> String {
    format!("volsync-kopia-maintenance-{name}-cache")
}

/// The first 16 hexadecimal digits of a SHA-256.
fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_original_s() {
        assert_eq!(job(Role::Source, "app"), "volsync-src-app");
        assert_eq!(job(Role::Destination, "app-dst"), "volsync-dst-app-dst");
        assert_eq!(cache(Role::Source, "app"), "volsync-src-app-cache");
        assert_eq!(copy("app"), "volsync-app-src");
        assert_eq!(destination("app-dst"), "volsync-app-dst-dest");
        let at = "2026-11-21T11:36:51.9Z".parse().expect("an instant");
        assert_eq!(image("volsync-app-dst-dest", at), "volsync-app-dst-dest-20261121113651");
    }

    #[test]
    fn long_job_names_bear_a_checksum() {
        let fits = "a".repeat(51);
        assert_eq!(job(Role::Source, &fits), format!("volsync-src-{fits}"));
        // CRC-32 (IEEE) of "123456789" is the check value of the algorithm.
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        let long = "a".repeat(52);
        assert_eq!(job(Role::Source, &long), format!("volsync-src-{:08x}", crc32fast::hash(long.as_bytes())));
        assert_eq!(account(Role::Source, &long), format!("volsync-src-{long}"));
    }

    #[test]
    fn labels_hold_every_name() {
        assert_eq!(label_value("app-data"), "app-data");
        let fits = "a".repeat(63);
        assert_eq!(label_value(&fits), fits);
        let (long, other) = (format!("{}.{}", "a".repeat(53), "b".repeat(40)), "a".repeat(253));
        for name in [&long, &other] {
            let value = label_value(name);
            assert!(value.len() <= 63 && !value.contains(".-"), "{value}");
        }
        assert_ne!(label_value(&format!("{other}1")), label_value(&format!("{other}2")));
    }

    #[test]
    fn maintenance_names_match_the_recorded_ones() {
        assert_eq!(maintenance_cron_job("g-k-maintenance", "one"), "kopia-maint-one-b53c0f67a2e6f28f");
        assert_eq!(maintenance_cron_job("g-k-maintenance", "two"), "kopia-maint-two-ddf0e778ca550ec9");
        assert_eq!(maintenance_job("g-k-maintenance", "two", "now"), "kopia-maint-manual-7ef6f93755444a1b");
        let long = "m".repeat(50);
        assert!(maintenance_cron_job("ns", &long).starts_with(&format!("kopia-maint-{}-", "m".repeat(34))));
    }
}
