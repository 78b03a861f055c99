//! VolSync's rules for the identity under which the Kopia mover writes and looks.
//!
//! Promises exactly the rules that the controller applies, so that a source and a destination pair
//! here if and only if they pair on a cluster. Pure. Does not judge whether the pair makes sense.
//!
//! Source: VolSync fork with the Kopia mover, identity rules ID-1 to ID-8.

use serde_json::Value;

use crate::model::Identity;

/// The path that is recorded unless overridden.
pub const PATH: &str = "/data";

/// The user name made of an object's name.
pub fn username(name: &str) -> String {
    let kept: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    let cut: String = kept.trim_matches(['-', '_']).chars().take(50).collect();
    if cut.is_empty() { "volsync-default".to_owned() } else { cut }
}

/// The host name made of a namespace.
pub fn hostname(namespace: &str, name: &str) -> String {
    let kept: String = namespace
        .chars()
        .map(|c| if c == '_' { '-' } else { c })
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
        .collect();
    let cut = kept.trim_matches(['-', '.']);
    if cut.is_empty() { username(name) } else { cut.to_owned() }
}

fn text<'a>(kopia: &'a Value, key: &str) -> Option<&'a str> {
    kopia.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// The identity a source writes under.
pub fn of_source(name: &str, namespace: &str, kopia: &Value) -> Identity {
    Identity {
        username: text(kopia, "username").map_or_else(|| username(name), str::to_owned),
        hostname: text(kopia, "hostname").map_or_else(|| hostname(namespace, name), str::to_owned),
        path: text(kopia, "sourcePathOverride").unwrap_or(PATH).to_owned(),
    }
}

/// What a destination adopts from the source that `sourceIdentity` names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovered {
    /// The source's path override.
    pub path: Option<String>,
    /// The source's repository Secret name.
    pub repository: Option<String>,
}

/// The identity a destination looks for, and the repository name it uses.
///
/// `find` returns `spec.kopia` of the named source, if there is one.
pub fn of_destination(
    name: &str,
    namespace: &str,
    kopia: &Value,
    find: &dyn Fn(&str, &str) -> Option<Value>,
) -> (Identity, Option<String>) {
    let source = kopia.get("sourceIdentity").unwrap_or(&Value::Null);
    let source_name = text(source, "sourceName");
    let source_namespace = text(source, "sourceNamespace").unwrap_or(namespace);
    let mut discovered = Discovered::default();
    if let Some(source_name) =
        source_name.filter(|_| text(source, "sourcePVCName").is_none() && text(kopia, "hostname").is_none())
        && let Some(kopia) = find(source_namespace, source_name)
    {
        discovered.path = text(&kopia, "sourcePathOverride").map(str::to_owned);
        discovered.repository = text(&kopia, "repository").map(str::to_owned);
    }
    let explicit_path =
        text(source, "sourcePathOverride").filter(|_| text(kopia, "hostname").is_none()).map(str::to_owned);
    let identity = Identity {
        username: text(kopia, "username")
            .map_or_else(|| username(source_name.unwrap_or(name)), str::to_owned),
        hostname: text(kopia, "hostname").map_or_else(|| hostname(source_namespace, name), str::to_owned),
        path: explicit_path.or(discovered.path).unwrap_or_else(|| PATH.to_owned()),
    };
    (identity, text(kopia, "repository").map(str::to_owned).or(discovered.repository))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "a table of literals reads better")]
    fn rd(name: &str, kopia: Value, source: Option<Value>) -> String {
        of_destination(name, "media", &kopia, &|_, _| source.clone()).0.to_string()
    }

    #[test]
    fn names_are_cleaned_as_the_operator_does() {
        for (name, expected) in [("plex", "plex"), ("a.b", "ab"), ("-x_", "x"), ("...", "volsync-default")] {
            assert_eq!(username(name), expected);
        }
        assert_eq!(username(&"x".repeat(60)).len(), 50);
        for (namespace, expected) in [("media", "media"), ("a_b", "a-b"), (".x.", "x"), ("", "app")] {
            assert_eq!(hostname(namespace, "app"), expected);
        }
    }

    #[test]
    fn a_destination_looks_where_the_rules_say() {
        assert_eq!(of_source("plex", "media", &json!({})).to_string(), "plex@media:/data");
        assert_eq!(
            rd("plex-dst", json!({}), None),
            "plex-dst@media:/data",
            "without identity it looks for its own name"
        );
        assert_eq!(
            rd("plex-dst", json!({"sourceIdentity": {"sourceName": "plex"}}), None),
            "plex@media:/data"
        );
        assert_eq!(
            rd("d", json!({"sourceIdentity": {"sourceName": "plex", "sourceNamespace": "old"}}), None),
            "plex@old:/data"
        );
        let source = Some(json!({"sourcePathOverride": "/x", "repository": "r"}));
        assert_eq!(
            rd("d", json!({"sourceIdentity": {"sourceName": "plex"}}), source.clone()),
            "plex@media:/x"
        );
        assert_eq!(
            rd(
                "d",
                json!({"sourceIdentity": {"sourceName": "plex", "sourcePVCName": "plex"}}),
                source.clone()
            ),
            "plex@media:/data"
        );
        assert_eq!(
            rd(
                "d",
                json!({"username": "u", "hostname": "h", "sourceIdentity": {"sourceName": "plex", "sourcePathOverride": "/y"}}),
                source.clone()
            ),
            "u@h:/data"
        );
        assert_eq!(
            of_destination("d", "n", &json!({"sourceIdentity": {"sourceName": "plex"}}), &|_, _| source
                .clone())
            .1
            .as_deref(),
            Some("r")
        );
    }
}
