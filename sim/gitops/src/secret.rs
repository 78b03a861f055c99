//! Repository Secrets: real ones, and stand-ins for those whose values Git does not hold.
//!
//! Promises that a stand-in has the key names of the real Secret, that literal values stay as they
//! are, and that two Secrets which draw a value from the same place get the same stand-in, so that it
//! can be told which share a repository and a password. Stand-ins carry no chance: the same input gives
//! the same values. Never reaches for a secret store.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::model::{Location, Object, Secret, SecretKind};
use crate::yaml::Document;

/// The two keys without which the Kopia mover refuses a Secret.
pub const REQUIRED: [&str; 2] = ["KOPIA_REPOSITORY", "KOPIA_PASSWORD"];

/// The name of the Secret that a resource makes, if it makes one.
pub fn makes(document: &Document) -> Option<String> {
    let text = |path: &[&str]| document.str(path).map(str::to_owned);
    match (document.group(), document.kind()) {
        ("", "Secret") | ("onepassword.com", "OnePasswordItem") => Some(document.name().to_owned()),
        ("external-secrets.io", "ExternalSecret") => {
            text(&["spec", "target", "name"]).or_else(|| Some(document.name().to_owned()))
        }
        ("bitnami.com", "SealedSecret") => {
            text(&["spec", "template", "metadata", "name"]).or_else(|| Some(document.name().to_owned()))
        }
        ("isindir.github.com", "SopsSecret") => {
            document.at(&["spec", "secretTemplates"])?.get(0)?.get("name")?.as_str().map(str::to_owned)
        }
        ("secrets.infisical.com", "InfisicalSecret") => {
            text(&["spec", "managedSecretReference", "secretName"]).or_else(|| {
                document
                    .at(&["spec", "managedKubeSecretReferences"])?
                    .get(0)?
                    .get("secretName")?
                    .as_str()
                    .map(str::to_owned)
            })
        }
        ("secrets.hashicorp.com", _) => text(&["spec", "destination", "name"]),
        _ => None,
    }
}

/// Remote places of which a single Secret is known to be drawn, to tell several apart.
pub type Places = BTreeSet<(String, String)>;

/// Collects places from Secrets that draw from one remote entry only.
pub fn places(documents: &[&Document]) -> Places {
    let mut places = Places::new();
    for document in documents.iter().filter(|document| document.kind() == "ExternalSecret") {
        let remotes = remotes(document);
        if let [only] = remotes.as_slice() {
            for name in expressions(document) {
                places.insert((only.clone(), name));
            }
        }
    }
    places
}

/// Makes the Secret of a document usable.
pub fn of(document: &Document, name: &str, namespace: &str, cluster: &str, places: &Places) -> Secret {
    let mut values = BTreeMap::new();
    let mut invented = Vec::new();
    let mut kind = SecretKind::Plain;
    let encrypted = document.at(&["sops"]).is_some();
    match document.kind() {
        "Secret" => {
            for (field, encoded) in [("data", true), ("stringData", false)] {
                for (key, value) in document.at(&[field]).and_then(Value::as_object).into_iter().flatten() {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    let is_cipher = text.starts_with("ENC[") || encrypted;
                    let decoded = if encoded && !is_cipher {
                        base64::engine::general_purpose::STANDARD
                            .decode(text.trim())
                            .ok()
                            .and_then(|bytes| String::from_utf8(bytes).ok())
                    } else {
                        Some(text)
                    };
                    if let Some(text) = decoded.filter(|_| !is_cipher) {
                        values.insert(key.clone(), text);
                    } else {
                        kind = SecretKind::Encrypted;
                        values.insert(
                            key.clone(),
                            invent(key, &format!("{}/{}/{key}", namespace, document.name())),
                        );
                        invented.push(key.clone());
                    }
                }
            }
        }
        "ExternalSecret" => {
            kind = SecretKind::External;
            external(document, places, &mut values, &mut invented);
        }
        _ => {
            kind =
                if document.kind() == "SealedSecret" { SecretKind::Encrypted } else { SecretKind::External };
            let sealed: Vec<String> = document
                .at(&["spec", "encryptedData"])
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .map(|(key, _)| key.clone())
                .collect();
            let keys = if sealed.is_empty() {
                REQUIRED.iter().map(|key| (*key).to_owned()).collect()
            } else {
                sealed
            };
            for key in keys {
                values.insert(
                    key.clone(),
                    invent(&key, &format!("{}/{}/{key}", document.kind(), document.name())),
                );
                invented.push(key);
            }
        }
    }
    build(name, namespace, cluster, document, kind, values, invented)
}

/// A Secret that nothing in the input makes.
pub fn absent(name: &str, namespace: &str, cluster: &str, asked_by: &Document) -> Secret {
    build(name, namespace, cluster, asked_by, SecretKind::Absent, BTreeMap::new(), Vec::new())
}

fn build(
    name: &str,
    namespace: &str,
    cluster: &str,
    document: &Document,
    kind: SecretKind,
    values: BTreeMap<String, String>,
    invented: Vec<String>,
) -> Secret {
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "type": "Opaque", "stringData": values});
    Secret {
        object: Object {
            cluster: cluster.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            origin: document.origin.clone(),
            object,
        },
        kind,
        values,
        invented,
    }
}

fn external(
    document: &Document,
    places: &Places,
    values: &mut BTreeMap<String, String>,
    invented: &mut Vec<String>,
) {
    let remotes = remotes(document);
    let mut named = BTreeMap::new();
    for entry in document.at(&["spec", "data"]).and_then(Value::as_array).into_iter().flatten() {
        let text =
            |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        named.insert(
            text("/secretKey"),
            format!("{}/{}", text("/remoteRef/key"), text("/remoteRef/property")),
        );
    }
    let place = |name: &str| {
        named.get(name).cloned().unwrap_or_else(|| {
            let known = remotes.iter().find(|remote| places.contains(&((*remote).clone(), name.to_owned())));
            format!("{}/{name}", known.cloned().unwrap_or_else(|| remotes.join("+")))
        })
    };
    let template = document.at(&["spec", "target", "template", "data"]).and_then(Value::as_object);
    if let Some(template) = template {
        for (key, value) in template {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if text.contains("{{") {
                invented.push(key.clone());
                values.insert(key.clone(), fill(key, &text, &place));
            } else {
                values.insert(key.clone(), text);
            }
        }
    } else {
        let mut keys: BTreeSet<String> = named.keys().cloned().collect();
        if !remotes.is_empty() {
            keys.extend(REQUIRED.iter().map(|key| (*key).to_owned()));
        }
        for key in keys {
            values.insert(key.clone(), invent(&key, &place(&key)));
            invented.push(key);
        }
    }
}

/// Remote entries that are drawn as a whole.
fn remotes(document: &Document) -> Vec<String> {
    let mut found: Vec<String> = document
        .at(&["spec", "dataFrom"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            entry
                .pointer("/extract/key")
                .or_else(|| entry.pointer("/find/name/regexp"))?
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

fn expressions(document: &Document) -> Vec<String> {
    let mut names = Vec::new();
    for value in document
        .at(&["spec", "target", "template", "data"])
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(_, value)| value.as_str())
    {
        let mut rest = value;
        while let Some(at) = rest.find("{{") {
            let inner = &rest[at + 2..];
            let end = inner.find("}}").unwrap_or(inner.len());
            names.push(field(&inner[..end]));
            rest = &inner[end..];
        }
    }
    names
}

/// The field of an expression such as ` .KOPIA_PASSWORD | trim `.
fn field(expression: &str) -> String {
    let from = expression.find('.').map_or(expression, |at| &expression[at + 1..]);
    from.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// Replaces the expressions of a template by stand-ins.
fn fill(key: &str, text: &str, place: &dyn Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner.find("}}").unwrap_or(inner.len());
        let at_start = out.is_empty();
        let what = place(&field(&inner[..end]));
        let filled = if at_start { invent(key, &what) } else { ["standin-", &digest(&what)].concat() };
        out.push_str(&filled);
        rest = inner.get(end + 2..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// A stand-in of the shape that a key's value has.
fn invent(key: &str, place: &str) -> String {
    let digest = digest(place);
    match key {
        "KOPIA_REPOSITORY" | "RESTIC_REPOSITORY" => format!("s3://standin-{digest}"),
        "AWS_S3_ENDPOINT" | "KOPIA_S3_ENDPOINT" => format!("standin-{digest}.invalid"),
        _ => format!("standin-{digest}"),
    }
}

/// FNV-1a: short, stable, and no secret is behind it.
fn digest(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")[..10].to_owned()
}

/// Where a mover finds its repository, given the Secret and the mounts of its pod (mount point, server, path).
pub fn location(values: &BTreeMap<String, String>, mounts: &[(String, String, String)]) -> Option<Location> {
    let get = |key: &str| values.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let url = get("KOPIA_REPOSITORY").unwrap_or_default();
    let endpoint = get("KOPIA_S3_ENDPOINT").or(get("AWS_S3_ENDPOINT")).unwrap_or_default();
    let endpoint = endpoint
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let tail = url.strip_prefix("s3://");
    let (host, prefix) = tail.map_or(("", ""), |tail| tail.split_once('/').unwrap_or((tail, "")));
    if let Some(bucket) = get("KOPIA_S3_BUCKET") {
        return Some(Location::Bucket {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            endpoint,
        });
    }
    if tail.is_some() {
        return Some(Location::Bucket {
            bucket: host.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            endpoint,
        });
    }
    for key in ["KOPIA_AZURE_CONTAINER", "KOPIA_GCS_BUCKET"] {
        if get(key).is_some() {
            return Some(Location::Other(key.to_owned()));
        }
    }
    if let Some(path) = url.strip_prefix("filesystem://") {
        let inside = |at: &str| path == at || path.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'));
        let export = mounts.iter().find(|(at, _, _)| inside(at)).map(|(at, server, share)| {
            (server.clone(), format!("{}{}", share.trim_end_matches('/'), &path[at.len()..]))
        });
        return Some(Location::Filesystem { path: path.to_owned(), export });
    }
    ["KOPIA_B2_BUCKET", "WEBDAV_URL", "SFTP_HOST", "RCLONE_REMOTE_PATH", "GOOGLE_DRIVE_FOLDER_ID"]
        .into_iter()
        .find(|key| get(key).is_some())
        .map(|key| Location::Other(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Origin;

    #[expect(clippy::needless_pass_by_value, reason = "a table of literals reads better")]
    fn external_secret(remotes: &[&str], data: Value) -> Document {
        let from: Vec<Value> = remotes.iter().map(|key| json!({"extract": {"key": key}})).collect();
        Document::made(
            json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "x"}, "spec": {"target": {"name": "x-secret", "template": {"data": data}}, "dataFrom": from}}),
            Origin::new("f", 1),
        )
    }

    #[test]
    fn stand_ins_tell_which_secrets_share_a_repository() {
        let data = json!({"KOPIA_PASSWORD": "{{ .KOPIA_PASSWORD }}", "KOPIA_REPOSITORY": "filesystem:///mnt/repository"});
        let (a, b) = (external_secret(&["kopia"], data.clone()), external_secret(&["b2", "kopia"], data));
        let other = external_secret(
            &["kopia"],
            json!({"KOPIA_PASSWORD": "{{ .OTHER }}", "KOPIA_REPOSITORY": "{{ .TEMPLATE }}/app"}),
        );
        let places = places(&[&a, &b, &other]);
        let secret = |document: &Document| of(document, "x", "n", "", &places).values;
        assert_eq!(secret(&a)["KOPIA_PASSWORD"], secret(&b)["KOPIA_PASSWORD"]);
        assert_ne!(secret(&a)["KOPIA_PASSWORD"], secret(&other)["KOPIA_PASSWORD"]);
        assert_eq!(secret(&a)["KOPIA_REPOSITORY"], "filesystem:///mnt/repository");
        assert!(
            secret(&other)["KOPIA_REPOSITORY"].starts_with("s3://standin-")
                && secret(&other)["KOPIA_REPOSITORY"].ends_with("/app")
        );
        assert_eq!(makes(&a).as_deref(), Some("x-secret"));
    }

    #[test]
    fn an_encrypted_secret_keeps_its_keys() {
        let document = Document::made(
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"KOPIA_PASSWORD": "ENC[AES256_GCM,data:x]", "KOPIA_REPOSITORY": "ENC[x]"}, "sops": {}}),
            Origin::new("f", 1),
        );
        let secret = of(&document, "s", "n", "", &Places::new());
        assert_eq!((secret.kind, secret.invented.len()), (SecretKind::Encrypted, 2));
        assert!(secret.values["KOPIA_REPOSITORY"].starts_with("s3://"));
    }

    #[test]
    fn a_location_follows_the_movers_order_of_choice() {
        let mounts = [("/mnt/repository".to_owned(), "nas".to_owned(), "/export/kopia".to_owned())];
        let at = |pairs: &[(&str, &str)]| {
            location(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), &mounts)
                .map(|location| location.to_string())
        };
        assert_eq!(
            at(&[("KOPIA_REPOSITORY", "filesystem:///mnt/repository")]).unwrap(),
            "/mnt/repository on nas:/export/kopia"
        );
        assert_eq!(
            at(&[("KOPIA_REPOSITORY", "filesystem:///mnt/repository/a")]).unwrap(),
            "/mnt/repository/a on nas:/export/kopia/a"
        );
        assert!(at(&[("KOPIA_REPOSITORY", "filesystem:///mnt/repositories")]).unwrap().contains("nothing"));
        assert_eq!(
            at(&[("KOPIA_REPOSITORY", "s3://b/p/"), ("AWS_S3_ENDPOINT", "https://e/")]).unwrap(),
            "s3://b/p at e"
        );
        assert_eq!(at(&[("KOPIA_REPOSITORY", "s3://x/p/"), ("KOPIA_S3_BUCKET", "b")]).unwrap(), "s3://b/p");
        assert_eq!(
            at(&[("KOPIA_B2_BUCKET", "b"), ("KOPIA_REPOSITORY", "b2:x")]).unwrap(),
            "a store selected by KOPIA_B2_BUCKET"
        );
        assert_eq!(at(&[]), None);
    }
}
