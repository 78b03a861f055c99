//! VolumePopulator: tells the data-source validator that a kind may fill claims.
//!
//! Source: populator.storage.k8s.io/v1beta1 of volume-data-source-validator.
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind that may stand in a claim's `dataSourceRef`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "populator.storage.k8s.io",
    version = "v1beta1",
    kind = "VolumePopulator",
    plural = "volumepopulators",
    singular = "volumepopulator",
    no_spec,
    derive = "PartialEq",
    doc = "VolumePopulator registers a kind as a data source of claims",
    annotation("api-approved.kubernetes.io", "https://github.com/kubernetes/enhancements/pull/2934"),
    printcolumn = r#"{"name":"SourceKind","type":"string","jsonPath":".sourceKind"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct VolumePopulatorFields {
    /// The kind.
    pub source_kind: GroupKind,
}

/// A kind and its group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupKind {
    /// The group.
    pub group: String,
    /// The kind.
    pub kind: String,
}
