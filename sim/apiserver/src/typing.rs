//! How values of a resource merge: which maps and lists are one value, and how list items are told apart.
//!
//! Custom resources say it in their schema. For built-in types one table by field name stands for the
//! `x-kubernetes-list-*` markers of the real server's schema; a list that it does not name is one value.

use std::sync::Arc;

use crate::resource::{Custom, Resource};
use crate::schema::Schema;

/// How a value merges.
#[derive(Debug, Clone)]
pub(crate) enum Typing {
    /// By the tables of built-in types; with the name of the field.
    Builtin(String),
    /// By a node of a schema, found again by its path from the root.
    Schema(Arc<Custom>, Vec<Step>),
    /// As deduced from the value: maps merge, lists do not.
    Deduced,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Field(String),
    Item,
}

/// How a list merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// As one value.
    Atomic,
    /// As a set of plain values.
    Set,
    /// By the values of these fields of its items.
    Keyed(Vec<String>),
}

const KEYED: &[(&str, &[&str])] = &[
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("imagePullSecrets", &["name"]),
    ("hostAliases", &["ip"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("conditions", &["type"]),
    ("addresses", &["type"]),
    ("ownerReferences", &["uid"]),
    ("webhooks", &["name"]),
    ("resourceClaims", &["name"]),
    ("secrets", &["name"]),
    ("podIPs", &["ip"]),
    ("hostIPs", &["ip"]),
];

/// Maps that are one value.
const ATOMIC_MAPS: &[&str] = &[
    "selector",
    "labelSelector",
    "nodeSelector",
    "configMapKeyRef",
    "secretKeyRef",
    "fieldRef",
    "resourceFieldRef",
    "dataSource",
    "claimRef",
    "involvedObject",
    "targetRef",
    "scaleTargetRef",
    "roleRef",
    "nodeSelectorTerms",
    "secretRef",
    "nodePublishSecretRef",
    "nodeStageSecretRef",
    "controllerExpandSecretRef",
    "controllerPublishSecretRef",
    "nodeExpandSecretRef",
    "podSelector",
    "namespaceSelector",
    "objectSelector",
];

impl Typing {
    /// The typing of a resource's objects.
    pub fn of(resource: &Resource) -> Self {
        match &resource.custom {
            Some(custom) => Self::Schema(Arc::clone(custom), Vec::new()),
            None => Self::Builtin(String::new()),
        }
    }

    /// The typing of a field. Metadata is typed alike everywhere.
    pub fn field(&self, name: &str) -> Self {
        match self {
            Self::Schema(_, path) if path.is_empty() && name == "metadata" => {
                Self::Builtin("metadata".to_owned())
            }
            Self::Schema(custom, path) => {
                let mut path = path.clone();
                path.push(Step::Field(name.to_owned()));
                if find(&custom.schema, &path).is_some() {
                    Self::Schema(Arc::clone(custom), path)
                } else {
                    Self::Deduced
                }
            }
            Self::Builtin(_) => Self::Builtin(name.to_owned()),
            Self::Deduced => Self::Deduced,
        }
    }

    /// The typing of the items of a list.
    pub fn item(&self) -> Self {
        match self {
            Self::Schema(custom, path) => {
                let mut path = path.clone();
                path.push(Step::Item);
                if find(&custom.schema, &path).is_some() {
                    Self::Schema(Arc::clone(custom), path)
                } else {
                    Self::Deduced
                }
            }
            Self::Builtin(_) => Self::Builtin(String::new()),
            Self::Deduced => Self::Deduced,
        }
    }

    /// Whether a map is one value.
    pub fn is_atomic_map(&self) -> bool {
        match self {
            Self::Builtin(name) => ATOMIC_MAPS.contains(&name.as_str()),
            Self::Schema(custom, path) => {
                find(&custom.schema, path).is_some_and(|schema| schema.is_atomic_map)
            }
            Self::Deduced => false,
        }
    }

    /// How a list merges.
    pub fn list(&self, items: &[json::Value]) -> ListKind {
        match self {
            Self::Deduced => ListKind::Atomic,
            Self::Builtin(name) if name == "finalizers" => ListKind::Set,
            Self::Builtin(name) if name == "ports" => {
                let keys: &[&str] =
                    if items.iter().all(|item| item.get("containerPort").is_some()) && !items.is_empty() {
                        &["containerPort", "protocol"]
                    } else if items.iter().all(|item| item.get("port").is_some()) {
                        &["port", "protocol"]
                    } else {
                        return ListKind::Atomic;
                    };
                ListKind::Keyed(keys.iter().map(|key| (*key).to_owned()).collect())
            }
            Self::Builtin(name) => {
                let found = KEYED.iter().find(|(field, _)| field == name);
                found.map_or(ListKind::Atomic, |(_, keys)| {
                    ListKind::Keyed(keys.iter().map(|key| (*key).to_owned()).collect())
                })
            }
            Self::Schema(custom, path) => match find(&custom.schema, path) {
                Some(schema) if schema.list_type == "set" => ListKind::Set,
                Some(schema) if schema.list_type == "map" => ListKind::Keyed(schema.list_map_keys.clone()),
                _ => ListKind::Atomic,
            },
        }
    }

    /// The value that a key of a list item has when it is left out.
    pub fn default_key(key: &str) -> Option<json::Value> {
        (key == "protocol").then(|| json::json!("TCP"))
    }
}

fn find<'a>(schema: &'a Schema, path: &[Step]) -> Option<&'a Schema> {
    path.iter().try_fold(schema, |schema, step| match step {
        Step::Field(name) => schema.properties.get(name).or(schema.additional.as_deref()),
        Step::Item => schema.items.as_deref(),
    })
}
