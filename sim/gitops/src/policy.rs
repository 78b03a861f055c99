//! Admission policies that change mover Jobs, as far as their text tells.
//!
//! Promises to recognise the two effects that people use them for, an NFS export mounted into the
//! mover and a random delay before it, and to say when a policy does something else. Does not evaluate
//! CEL: a policy is recognised by its literals.

use std::sync::LazyLock;

use regex::Regex;

use crate::model::{Export, Object, Policy};
use crate::yaml::Document;

#[expect(clippy::unwrap_used, reason = "the patterns are constants and tested")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

static PREFIX: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?:name|generateName)[^"'\n]{0,40}startsWith\(\s*["']([^"']+)["']"#));
static MOUNT: LazyLock<Regex> = LazyLock::new(|| pattern(r#"mountPath:\s*["']([^"']+)["']"#));
static NFS: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)nfs\s*\{((?:\$\{[^}]*\}|[^}])*)\}"));
static SERVER: LazyLock<Regex> = LazyLock::new(|| pattern(r#"server:\s*["']([^"']+)["']"#));
static PATH: LazyLock<Regex> = LazyLock::new(|| pattern(r#"path:\s*["']([^"']+)["']"#));
static JITTER: LazyLock<Regex> = LazyLock::new(|| pattern(r"shuf\s+-i\s*\d+-(\d+)|RANDOM\s*%\s*(\d+)"));

/// Reads a policy that matches Jobs; `None` for others.
pub(crate) fn read(document: &Document, cluster: &str, bound: bool) -> Option<Policy> {
    let text = crate::yaml::emit(document.at(&["spec"])?);
    if document.kind() != "MutatingAdmissionPolicy" || !text.contains("jobs") {
        return None;
    }
    let conditions = document.at(&["spec", "matchConditions"]).map(crate::yaml::emit).unwrap_or_default();
    let prefixes: Vec<String> = PREFIX.captures_iter(&conditions).map(|found| found[1].to_owned()).collect();
    let first = |regex: &Regex, text: &str| regex.captures(text).map(|found| found[1].to_owned());
    let mounts = NFS.captures(&text).and_then(|found| {
        let inner = found[1].to_owned();
        Some(Export {
            server: first(&SERVER, &inner)?,
            path: first(&PATH, &inner)?,
            mounted_at: first(&MOUNT, &text)?,
        })
    });
    let jitter_seconds_max =
        JITTER.captures(&text).and_then(|found| found.get(1).or(found.get(2))?.as_str().parse().ok());
    let touches_movers = prefixes.iter().any(|prefix| {
        "volsync-src-".starts_with(prefix.as_str())
            || prefix.starts_with("volsync-")
            || prefix.starts_with("kopia-maint")
    }) || conditions.contains("volsync");
    touches_movers.then(|| Policy {
        object: Object {
            cluster: cluster.to_owned(),
            namespace: String::new(),
            name: document.name().to_owned(),
            origin: document.origin.clone(),
            object: document.value.clone(),
        },
        understood: mounts.is_some() || jitter_seconds_max.is_some(),
        prefixes,
        mounts,
        jitter_seconds_max,
        bound,
    })
}

impl Policy {
    /// Whether it is for Jobs whose name begins like this.
    pub fn is_for(&self, job: &str) -> bool {
        self.bound
            && (self.prefixes.is_empty()
                || self.prefixes.iter().any(|prefix| job.starts_with(prefix.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Origin;
    use serde_json::json;

    fn policy(condition: &str, expression: &str) -> Option<Policy> {
        let value = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": {"name": "p"}, "spec": {
            "matchConstraints": {"resourceRules": [{"resources": ["jobs"]}]}, "matchConditions": [{"name": "c", "expression": condition}],
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}]}});
        read(&Document::made(value, Origin::new("f", 1)), "", true)
    }

    #[test]
    fn the_two_usual_effects_are_recognised() {
        let nfs = policy("object.metadata.name.startsWith(\"volsync-\")", "[JSONPatch{op: \"add\", path: \"/spec/template/spec/containers/0/volumeMounts/-\", value: Object.x{name: \"repository\", mountPath: \"/repository\"}}, JSONPatch{op: \"add\", path: \"/v/-\", value: Object.spec.volumes{name: \"repository\", nfs: Object.spec.template.spec.volumes.nfs{server: \"nas\", path: \"/k\"}}}]").unwrap();
        assert_eq!(
            nfs.mounts,
            Some(Export { server: "nas".into(), path: "/k".into(), mounted_at: "/repository".into() })
        );
        assert!(nfs.is_for("volsync-dst-x") && !nfs.is_for("kopia-maint-x"));
        let jitter = policy(
            "object.metadata.name.startsWith(\"volsync-src-\")",
            "command: [\"sleep $(shuf -i 0-90 -n 1)\"]",
        )
        .unwrap();
        assert_eq!(
            (jitter.jitter_seconds_max, jitter.mounts.is_none(), jitter.understood),
            (Some(90), true, true)
        );
        let odd = policy("object.metadata.name.startsWith(\"volsync-src-\")", "[]").unwrap();
        assert!(!odd.understood);
        assert!(policy("object.metadata.name == \"x\"", "[]").is_none());
    }
}
