//! The form in which a client wants objects: whole, metadata only, or a table for people.

use bytes::Bytes;
use jiff::Timestamp;
use json::{Value, json};
use serde::Serialize;

use crate::access::at;
use crate::convert;
use crate::resource::Resource;
use crate::store::Stored;
use crate::table;

/// The form of an answer, from the `Accept` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The objects themselves.
    Whole,
    /// `PartialObjectMetadata`.
    Metadata,
    /// `Table`; the flag says whether rows carry the whole object.
    Table(Rows),
}

/// What the rows of a table carry besides their cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    Metadata,
    Object,
    Nothing,
}

impl Shape {
    /// Chooses by the first acceptable form.
    pub fn of(accept: &str, include_object: &str) -> Self {
        for form in accept.split(',') {
            if form.contains("as=Table") {
                return Self::Table(match include_object {
                    "Object" => Rows::Object,
                    "None" => Rows::Nothing,
                    _ => Rows::Metadata,
                });
            }
            if form.contains("as=PartialObjectMetadata") {
                return Self::Metadata;
            }
            if form.trim_start().starts_with("application/json") || form.contains("*/*") {
                break;
            }
        }
        Self::Whole
    }

    /// Renders one object.
    pub fn object(self, resource: &Resource, stored: &Stored, with_columns: bool, now: Timestamp) -> Bytes {
        match self {
            Self::Whole => plain(resource, stored),
            Self::Metadata => stored.metadata_text().clone(),
            Self::Table(rows) => {
                let shown = convert::present(resource, &stored.value);
                Bytes::from(
                    table::render(resource, &[&shown], rows, with_columns, &stored.version.to_string(), now)
                        .to_string(),
                )
            }
        }
    }

    /// Renders a bookmark.
    pub fn bookmark(self, object: Value) -> Value {
        match self {
            Self::Whole => object,
            Self::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
            }
            Self::Table(_) => json!({
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": object["metadata"]["resourceVersion"]},
                "columnDefinitions": null,
                "rows": [],
            }),
        }
    }
}

/// The text of an object in the version of the resource.
pub(crate) fn plain(resource: &Resource, stored: &Stored) -> Bytes {
    match convert::present(resource, &stored.value) {
        std::borrow::Cow::Borrowed(_) => stored.text().clone(),
        std::borrow::Cow::Owned(shown) => Bytes::from(shown.to_string()),
    }
}

/// The metadata of an object alone.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PartialObject<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Option<&'a Value>,
}

impl<'a> PartialObject<'a> {
    pub fn of(object: &'a Value) -> Self {
        Self {
            api_version: "meta.k8s.io/v1",
            kind: "PartialObjectMetadata",
            metadata: at(object, &["metadata"]),
        }
    }

    /// As a tree.
    pub fn value(&self) -> Value {
        json!({"apiVersion": self.api_version, "kind": self.kind, "metadata": self.metadata})
    }

    /// As JSON text.
    pub fn text(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(self).expect("JSON values have JSON text"))
    }
}
