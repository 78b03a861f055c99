//! Lines of kubectl as a runbook has them, understood well enough to be played.
//!
//! A runbook is worth what its lines do. So the line that a person copies and the act that a bed plays
//! are one: [`Kubectl`] keeps the line as written and knows what it means. Understood are `delete`,
//! `patch`, `annotate`, `label`, `scale`, `apply -f -` with a here-document, `rollout restart` and
//! `drain`, with `-n`. It promises that the written line is kept word for word. It runs nothing, and
//! knows no pipes, variables or other commands of a shell.

use std::{collections::BTreeMap, fmt, str::FromStr};

use json::Value;
use serde::{Deserialize, Serialize};

/// One line of kubectl.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Kubectl {
    line: String,
    namespace: Option<String>,
    verb: Verb,
}

/// What a line does.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// Deletes objects.
    Delete {
        /// The resource as written: `pvc`, `volumesnapshot`.
        resource: String,
        /// Names.
        names: Vec<String>,
    },
    /// Applies a patch.
    Patch {
        /// The resource as written.
        resource: String,
        /// Name.
        name: String,
        /// The merge patch.
        patch: Value,
    },
    /// Sets or (none) removes annotations.
    Annotate {
        /// The resource as written.
        resource: String,
        /// Name.
        name: String,
        /// By key.
        values: BTreeMap<String, Option<String>>,
    },
    /// Sets or (none) removes labels.
    Label {
        /// The resource as written.
        resource: String,
        /// Name.
        name: String,
        /// By key.
        values: BTreeMap<String, Option<String>>,
    },
    /// Sets the number of replicas.
    Scale {
        /// The resource as written.
        resource: String,
        /// Name.
        name: String,
        /// How many.
        replicas: u32,
    },
    /// Applies manifests.
    Apply {
        /// The here-document.
        manifests: String,
    },
    /// Restarts a workload.
    RolloutRestart {
        /// The resource as written.
        resource: String,
        /// Name.
        name: String,
    },
    /// Evicts the pods of a node.
    Drain {
        /// The node.
        node: String,
    },
}

impl Kubectl {
    /// What the line does.
    pub const fn verb(&self) -> &Verb {
        &self.verb
    }

    /// What the line does, done in another namespace, with these manifests if it applies some; the written
    /// line stays as it is.
    #[must_use]
    pub fn within(&self, namespace: String, manifests: Option<String>) -> Self {
        let verb = match manifests {
            Some(manifests) => Verb::Apply { manifests },
            None => self.verb.clone(),
        };
        Self { line: self.line.clone(), namespace: Some(namespace), verb }
    }

    /// The namespace that the line names.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }
}

impl fmt::Display for Kubectl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl TryFrom<String> for Kubectl {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Kubectl> for String {
    fn from(line: Kubectl) -> Self {
        line.line
    }
}

impl FromStr for Kubectl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let line = text.trim().to_owned();
        let (command, document) = match line.split_once('\n') {
            Some((command, document)) => (command, Some(document)),
            None => (line.as_str(), None),
        };
        let mut words = Words::split(command)?;
        if words.next().as_deref() != Some("kubectl") {
            return Err(format!("{command:?} does not begin with kubectl"));
        }
        let namespace = words.option(&["-n", "--namespace"]);
        let verb = words.next().ok_or_else(|| "kubectl alone does nothing".to_owned())?;
        let verb = match verb.as_str() {
            "delete" => {
                let _ = words.option(&["--wait"]);
                let (resource, first) = words.target()?;
                let mut names = vec![first];
                names.extend(words.rest()?);
                return Ok(Self { line: line.clone(), namespace, verb: Verb::Delete { resource, names } });
            }
            "patch" => {
                let _ = words.option(&["--type"]);
                let patch = words.option(&["-p", "--patch"]).ok_or("kubectl patch needs -p '{…}'")?;
                let patch = serde_json::from_str(&patch)
                    .map_err(|error| format!("the patch {patch} is no JSON: {error}"))?;
                let (resource, name) = words.target()?;
                Verb::Patch { resource, name, patch }
            }
            "annotate" | "label" => {
                words.flag("--overwrite");
                let (resource, name) = words.target()?;
                let mut values = BTreeMap::new();
                while let Some(word) = words.next() {
                    match (word.split_once('='), word.strip_suffix('-')) {
                        (Some((key, value)), _) => values.insert(key.to_owned(), Some(value.to_owned())),
                        (None, Some(key)) => values.insert(key.to_owned(), None),
                        (None, None) => return Err(format!("{word:?}: write key=value, or key- to remove")),
                    };
                }
                if verb == "label" {
                    Verb::Label { resource, name, values }
                } else {
                    Verb::Annotate { resource, name, values }
                }
            }
            "scale" => {
                let replicas = words.option(&["--replicas"]).ok_or("kubectl scale needs --replicas=N")?;
                let replicas = replicas.parse().map_err(|_| format!("--replicas={replicas} is no number"))?;
                let (resource, name) = words.target()?;
                Verb::Scale { resource, name, replicas }
            }
            "apply" => {
                let file = words.option(&["-f", "--filename"]);
                let mark = words
                    .next()
                    .and_then(|word| word.strip_prefix("<<").map(|mark| mark.trim_matches('\'').to_owned()));
                let (Some("-"), Some(mark), Some(document)) = (file.as_deref(), mark, document) else {
                    return Err(
                        "write kubectl apply -f - <<EOF, the manifests, and EOF on a line of its own"
                            .to_owned(),
                    );
                };
                let manifests = document
                    .trim_end()
                    .strip_suffix(&mark)
                    .ok_or_else(|| format!("the here-document does not end with {mark}"))?;
                Verb::Apply { manifests: manifests.to_owned() }
            }
            "rollout" => {
                if words.next().as_deref() != Some("restart") {
                    return Err("of kubectl rollout only restart can be played".to_owned());
                }
                let (resource, name) = words.target()?;
                Verb::RolloutRestart { resource, name }
            }
            "drain" => {
                words.flag("--ignore-daemonsets");
                words.flag("--delete-emptydir-data");
                Verb::Drain { node: words.next().ok_or("kubectl drain needs a node")? }
            }
            other => {
                return Err(format!(
                    "kubectl {other} cannot be played; known are delete, patch, annotate, label, scale, apply, rollout restart, drain"
                ));
            }
        };
        let left = words.rest()?;
        if !left.is_empty() {
            return Err(format!("{left:?} of {command:?} is not understood"));
        }
        Ok(Self { line, namespace, verb })
    }
}

/// The words of a line, taken one by one.
struct Words(Vec<String>);

impl Words {
    fn split(line: &str) -> Result<Self, String> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut quote: Option<char> = None;
        for character in line.chars() {
            match (quote, character) {
                (Some(end), character) if character == end => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(character);
                    word.get_or_insert_default();
                }
                (None, character) if character.is_whitespace() => words.extend(word.take()),
                (None, '|' | ';' | '$' | '`' | '>') => {
                    return Err(format!(
                        "{character:?} in {line:?}: a runbook line is one kubectl command, without a shell"
                    ));
                }
                (_, character) => word.get_or_insert_default().push(character),
            }
        }
        if quote.is_some() {
            return Err(format!("a quote in {line:?} is not closed"));
        }
        words.extend(word);
        Ok(Self(words))
    }

    fn next(&mut self) -> Option<String> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0)) }
    }

    fn option(&mut self, names: &[&str]) -> Option<String> {
        for at in 0..self.0.len() {
            if names.contains(&self.0[at].as_str()) && at + 1 < self.0.len() {
                self.0.remove(at);
                return Some(self.0.remove(at));
            }
            if let Some((name, value)) = self.0[at].split_once('=')
                && names.contains(&name)
            {
                let value = value.to_owned();
                self.0.remove(at);
                return Some(value);
            }
        }
        None
    }

    fn flag(&mut self, name: &str) {
        self.0.retain(|word| word != name);
    }

    fn target(&mut self) -> Result<(String, String), String> {
        let resource = self.next().ok_or("the line names no resource")?;
        if let Some((resource, name)) = resource.split_once('/') {
            return Ok((resource.to_owned(), name.to_owned()));
        }
        let name = self.next().ok_or_else(|| format!("the line names no {resource}"))?;
        Ok((resource, name))
    }

    fn rest(&mut self) -> Result<Vec<String>, String> {
        if let Some(option) = self.0.iter().find(|word| word.starts_with('-')) {
            return Err(format!("option {option} is not understood"));
        }
        Ok(std::mem::take(&mut self.0))
    }
}

#[cfg(test)]
mod tests {
    use json::json;

    use super::*;

    fn check(line: &str, namespace: Option<&str>, verb: &Verb) {
        let read: Kubectl = line.parse().unwrap();
        assert_eq!((read.namespace(), read.verb()), (namespace, verb), "{line}");
        assert_eq!(read.to_string(), line);
    }

    #[test]
    fn lines_mean_what_kubectl_makes_of_them() {
        check(
            "kubectl -n media delete volumesnapshot stuck",
            Some("media"),
            &Verb::Delete { resource: "volumesnapshot".into(), names: vec!["stuck".into()] },
        );
        check(
            r#"kubectl patch volumesnapshot stuck -n media --type merge -p '{"metadata":{"finalizers":null}}'"#,
            Some("media"),
            &Verb::Patch {
                resource: "volumesnapshot".into(),
                name: "stuck".into(),
                patch: json!({"metadata": {"finalizers": null}}),
            },
        );
        check(
            "kubectl annotate replicationsource/app a=b c- --overwrite",
            None,
            &Verb::Annotate {
                resource: "replicationsource".into(),
                name: "app".into(),
                values: [("a".to_owned(), Some("b".to_owned())), ("c".to_owned(), None)].into(),
            },
        );
        check(
            "kubectl scale deployment app --replicas=0",
            None,
            &Verb::Scale { resource: "deployment".into(), name: "app".into(), replicas: 0 },
        );
        check("kubectl apply -f - <<EOF\nkind: X\nEOF", None, &Verb::Apply { manifests: "kind: X\n".into() });
        check(
            "kubectl -n rook-ceph rollout restart deployment csi-rbdplugin-provisioner",
            Some("rook-ceph"),
            &Verb::RolloutRestart { resource: "deployment".into(), name: "csi-rbdplugin-provisioner".into() },
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_reason() {
        for (line, words) in [
            ("helm upgrade", "does not begin with kubectl"),
            ("kubectl get pods | xargs kubectl delete pod", "without a shell"),
            ("kubectl exec app -- ls", "cannot be played"),
            ("kubectl patch pvc app", "needs -p"),
            ("kubectl delete pvc app --force", "--force"),
            ("kubectl patch pvc app -p '{x}'", "no JSON"),
            ("kubectl apply -f file.yaml", "<<EOF"),
            ("kubectl delete pvc 'app", "not closed"),
        ] {
            let error = line.parse::<Kubectl>().unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
