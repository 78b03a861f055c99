//! Mutating admission policies in the version that a cluster serves.
//!
//! People write `admissionregistration.k8s.io/v1`, which Kubernetes serves from 1.36 on; 1.34 serves the same fields
//! as `v1beta1`. The version is rewritten in the text and nothing else is, and what was rewritten is told, because a
//! policy that is served in another version than it is written in is a finding about the cluster of its owner.

use serde_json::Value;

use super::KindCluster;
use crate::Error;

const GROUP: &str = "admissionregistration.k8s.io";

/// Manifests as a cluster serves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsServed {
    /// The text to apply.
    pub text: String,
    /// What is another version now: `MutatingAdmissionPolicy: v1 -> v1beta1`.
    pub rewritten: Vec<String>,
}

/// Brings the policies and bindings among some manifests to a version of their API group.
pub fn as_served(manifests: &str, version: &str) -> AsServed {
    let mut rewritten = Vec::new();
    let documents: Vec<_> = manifests
        .split_inclusive('\n')
        .fold(vec![String::new()], |mut documents, line| {
            if line.trim_end() == "---" {
                documents.push(String::new());
            }
            documents.last_mut().expect("there is a first").push_str(line);
            documents
        })
        .into_iter()
        .map(|document| {
            let kind =
                document.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap_or_default().trim();
            if !["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"].contains(&kind) {
                return document;
            }
            let written =
                document.lines().find_map(|line| line.strip_prefix("apiVersion: ")).unwrap_or_default();
            let (group, old) = written.trim().split_once('/').unwrap_or_default();
            if group != GROUP || old == version {
                return document;
            }
            rewritten.push(format!("{kind}: {old} -> {version}"));
            // The line, not the words: a comment above it may say the same.
            let line = format!("apiVersion: {written}");
            let lines = document.split_inclusive('\n');
            lines
                .map(|one| match one.strip_prefix(&line) {
                    Some(end) => format!("apiVersion: {GROUP}/{version}{end}"),
                    None => one.to_owned(),
                })
                .collect()
        })
        .collect();
    AsServed { text: documents.concat(), rewritten }
}

impl KindCluster {
    /// The version in which this cluster serves mutating admission policies; none if it does not.
    pub async fn policy_version(&self) -> Result<Option<String>, Error> {
        let known = self.kubectl_ok(["get", "--raw", "/apis/admissionregistration.k8s.io"], None).await?;
        let group: Value = serde_json::from_str(&known).map_err(unreadable)?;
        for served in group["versions"].as_array().into_iter().flatten() {
            let Some(version) = served["version"].as_str() else { continue };
            let path = format!("/apis/{GROUP}/{version}");
            let resources = self.kubectl_ok(["get", "--raw", &path], None).await?;
            let resources: Value = serde_json::from_str(&resources).map_err(unreadable)?;
            let mut names = resources["resources"].as_array().into_iter().flatten();
            if names.any(|one| one["kind"] == "MutatingAdmissionPolicy") {
                return Ok(Some(version.to_owned()));
            }
        }
        Ok(None)
    }
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::Unreadable { what: "the API server's list of resources".to_owned(), detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFESTS: &str = "---
# apiVersion: admissionregistration.k8s.io/v1 in a comment stays
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: jitter}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: other}
---
apiVersion: admissionregistration.k8s.io/v1beta1
kind: MutatingAdmissionPolicyBinding
metadata: {name: jitter}
";

    #[test]
    fn only_policies_of_another_version_are_rewritten_and_told() {
        let served = as_served(MANIFESTS, "v1beta1");
        assert_eq!(served.rewritten, ["MutatingAdmissionPolicy: v1 -> v1beta1"]);
        let expected = MANIFESTS.replacen(
            "\napiVersion: admissionregistration.k8s.io/v1\n",
            "\napiVersion: admissionregistration.k8s.io/v1beta1\n",
            1,
        );
        assert_eq!(served.text, expected);
        let newer = as_served(MANIFESTS, "v1");
        assert_eq!(newer.rewritten, ["MutatingAdmissionPolicyBinding: v1beta1 -> v1"]);
        assert_eq!(as_served("a: 1\n", "v1").text, "a: 1\n");
    }
}
