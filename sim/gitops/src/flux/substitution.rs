//! Which variables a Flux Kustomization has, and what they do to its resources.
//!
//! Promises Flux's rules: substitution runs on the emitted YAML (so quotes are gone and numbers become
//! numbers), only if there is at least one variable, and not on resources that switch it off; inline
//! values outrank `substituteFrom`; newlines are removed from values. What `--set` gives fills only
//! what the input leaves unset. Never guesses a value.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use serde_json::Value;

use crate::model::{Problem, Severity, Unknown};
use crate::substitute::{names, substitute};
use crate::yaml::{Document, emit, parse};

/// The variables of one Kustomization.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    values: BTreeMap<String, String>,
    inline: BTreeSet<String>,
    /// Sources of variables that are not in the input.
    missing: Vec<String>,
    /// Whether Flux would substitute at all.
    active: bool,
}

impl Variables {
    /// Only what the user set.
    pub(super) fn only(set: &BTreeMap<String, String>) -> Self {
        Self { values: set.clone(), active: !set.is_empty(), ..Self::default() }
    }

    /// The variables of `spec.postBuild`.
    pub(super) fn of(kustomization: &Document, known: &[Document], set: &BTreeMap<String, String>) -> Self {
        let mut variables = Self::only(set);
        let post_build = kustomization.at(&["spec", "postBuild"]);
        for source in post_build
            .and_then(|post| post.get("substituteFrom"))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let text = |key: &str| source.get(key).and_then(Value::as_str).unwrap_or_default();
            let found = known.iter().find(|document| {
                document.kind() == text("kind")
                    && document.name() == text("name")
                    && (document.namespace().is_empty()
                        || kustomization.namespace().is_empty()
                        || document.namespace() == kustomization.namespace())
            });
            match found.map(data).filter(|data| !data.is_empty()) {
                Some(data) => variables.values.extend(data),
                None => variables.missing.push(format!("{} {}", text("kind"), text("name"))),
            }
            variables.active = true;
        }
        for (name, value) in post_build
            .and_then(|post| post.get("substitute"))
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            // Without its parent in the input, a child's value may still hold the parent's variables.
            let text = match substitute(&text, set) {
                Ok(done) if done.unset.is_empty() => done.text,
                _ => text,
            };
            variables.values.insert(name.clone(), text.replace('\n', ""));
            variables.inline.insert(name.clone());
            variables.active = true;
        }
        variables
    }

    /// Inline variables that nothing asks for.
    pub(super) fn dead(&self, kustomization: &Document, documents: &[Document]) -> BTreeSet<String> {
        let mut asked: BTreeSet<String> =
            documents.iter().flat_map(|document| names(&emit(&document.value))).collect();
        asked.extend(self.values.values().flat_map(|value| names(value)));
        let _ = kustomization;
        self.inline.difference(&asked).cloned().collect()
    }
}

/// The data of a ConfigMap or a readable Secret.
fn data(document: &Document) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    if document.at(&["sops"]).is_some() {
        return values;
    }
    for (field, encoded) in [("data", document.kind() == "Secret"), ("stringData", false)] {
        for (key, value) in document.at(&[field]).and_then(Value::as_object).into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let text = if encoded {
                match base64::engine::general_purpose::STANDARD
                    .decode(text.trim())
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                {
                    Some(text) => text,
                    None => continue,
                }
            } else {
                text
            };
            values.insert(key.clone(), text.replace('\n', ""));
        }
    }
    values
}

/// Substitutes in one resource.
///
/// # Errors
/// A broken [`Problem`] when Flux could not substitute, or not read the result.
pub(super) fn apply(document: &Document, variables: &Variables) -> Result<(Document, Vec<Unknown>), Problem> {
    let text = emit(&document.value);
    if !text.contains('$') || document.mark("kustomize.toolkit.fluxcd.io/substitute") == Some("disabled") {
        return Ok((document.clone(), Vec::new()));
    }
    let hint = |name: &str| {
        if variables.active && variables.missing.is_empty() {
            format!("set it in postBuild.substitute, or pass --set {name}=VALUE")
        } else if variables.missing.is_empty() {
            format!(
                "no Flux Kustomization in the input gives it: add it to the paths, or pass --set {name}=VALUE"
            )
        } else {
            format!(
                "perhaps in {}, which the input does not hold: pass --set {name}=VALUE",
                variables.missing.join(", ")
            )
        }
    };
    let unknown = |name: &str| Unknown {
        variable: name.to_owned(),
        asked_by: document.title(),
        origin: document.line_of(&[]),
        hint: hint(name),
    };
    if !variables.active {
        // Without variables Flux leaves the text alone; what has a default would still be known.
        let unset = substitute(&text, &variables.values).map_or_else(
            |_| names(&text),
            |done| if done.unset.is_empty() { done.asked } else { done.unset },
        );
        return Ok((document.clone(), unset.iter().map(|name| unknown(name)).collect()));
    }
    let broken = |message: String, cure: &str| {
        Problem::new("substitution", Severity::Broken, message, cure).at(document.origin.clone())
    };
    let done = substitute(&text, &variables.values).map_err(|error| {
        broken(
            format!("{}: {error}: Flux refuses the Kustomization", document.title()),
            "write $${ for a literal ${",
        )
    })?;
    let mut unknowns: BTreeSet<Unknown> = done.unset.iter().map(|name| unknown(name)).collect();
    for name in &done.asked {
        unknowns.extend(
            variables
                .values
                .get(name)
                .into_iter()
                .flat_map(|value| names(value))
                .map(|inner| unknown(&inner)),
        );
    }
    let value = parse(&done.text, &document.origin)
        .map_err(|problem| broken(format!("{} is no YAML after substitution: {}", document.title(), problem.message), "a value such as */15 needs quotes that survive: write it as \"*/15 …\" inside the value, or choose another form"))?;
    Ok((Document { value, ..document.clone() }, unknowns.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Origin;
    use serde_json::json;

    fn run(value: Value, pairs: &[(&str, &str)]) -> Result<(Value, Vec<String>), String> {
        let kustomization = Document::made(
            json!({"metadata": {"name": "k"}, "spec": {"postBuild": {"substitute": pairs.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect::<serde_json::Map<_, _>>()}}}),
            Origin::new("k", 1),
        );
        let variables = Variables::of(&kustomization, &[], &BTreeMap::new());
        apply(&Document::made(value, Origin::new("f", 1)), &variables)
            .map(|(document, unknown)| {
                (document.value, unknown.into_iter().map(|unknown| unknown.variable).collect())
            })
            .map_err(|problem| problem.message)
    }

    #[test]
    fn quotes_are_gone_when_variables_come() {
        let (value, unknown) = run(json!({"uid": "${UID:=1000}", "modes": ["${M:=ReadWriteOnce}"], "schedule": "${S:=0 * * * *}", "list": "${L}"}), &[("L", "[a, b]"), ("X", "1")]).unwrap();
        assert_eq!(
            value,
            json!({"uid": 1000, "modes": ["ReadWriteOnce"], "schedule": "0 * * * *", "list": ["a", "b"]})
        );
        assert_eq!(unknown, [""; 0]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let (_, unknown) =
            run(json!({"a": "${MISSING}", "b": "${PARENT}"}), &[("PARENT", "${FROM_PARENT}")]).unwrap();
        assert_eq!(unknown, ["FROM_PARENT", "MISSING"]);
    }

    #[test]
    fn without_variables_and_where_switched_off_nothing_is_substituted() {
        assert_eq!(
            run(json!({"a": "${B:=1}"}), &[]).unwrap(),
            (json!({"a": "${B:=1}"}), vec!["B".to_owned()])
        );
        let off = json!({"a": "${B:=1}", "metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}}});
        assert_eq!(run(off.clone(), &[("X", "1")]).unwrap(), (off, vec![]));
    }

    #[test]
    fn a_schedule_that_begins_with_a_star_breaks_the_build_as_in_flux() {
        assert!(
            run(json!({"schedule": "${S}"}), &[("S", "*/15 * * * *")])
                .unwrap_err()
                .contains("no YAML after substitution")
        );
        assert!(
            run(json!({"script": "echo ${args[@]}"}), &[("S", "x")]).unwrap_err().contains("Flux refuses")
        );
    }
}
