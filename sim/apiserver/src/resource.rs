//! What the server knows about one resource: names, scope, subresources, columns, schema.
//!
//! Built-in resources stand in one table; those of custom resource definitions are made from the
//! definition at run time. Two resources with one `shelf` are spellings of the same objects (several
//! versions of a custom resource; `events` and `events.k8s.io`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::schema::Schema;

/// One resource in one version.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub list_kind: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// Has a `status` subresource, so that writes to the object itself leave its status alone.
    pub has_status: bool,
    pub scale: Option<Scale>,
    /// Counts changes of the spec in `metadata.generation`.
    pub counts_generation: bool,
    /// Answers a deletion with the object.
    pub returns_deleted: bool,
    /// Keeps dependents when a deletion does not say what becomes of them.
    pub orphans_by_default: bool,
    /// Only answers `create`, stores nothing.
    pub is_review: bool,
    /// A definition's resource, with its schema.
    pub custom: Option<Arc<Custom>>,
    /// Where its objects stand.
    pub shelf: usize,
}

/// What only custom resources have.
#[derive(Debug)]
pub(crate) struct Custom {
    pub schema: Schema,
    pub columns: Vec<Column>,
    pub selectable_fields: Vec<String>,
}

/// Where the parts of a scale stand in the object.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    pub spec_replicas: Vec<String>,
    pub status_replicas: Vec<String>,
    pub label_selector: Option<Vec<String>>,
}

/// A column of `kubectl get`.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub name: String,
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i64,
    pub path: String,
}

impl Resource {
    /// `batch/v1`, or `v1` in the core group.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Whether this is the built-in resource of that name in the group.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.custom.is_none() && self.group == group && self.plural == plural
    }
}

/// `batch/v1`, or `v1` in the core group.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Splits `batch/v1` into group and version.
pub(crate) fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// All resources that the server serves now.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// By group, version and plural.
    pub resources: BTreeMap<(String, String, String), Arc<Resource>>,
    kinds: BTreeMap<(String, String, String), Arc<Resource>>,
}

impl Registry {
    /// Serves a resource, replacing one of the same name.
    pub fn insert(&mut self, resource: Resource) {
        let resource = Arc::new(resource);
        let by = |last: &str| (resource.group.clone(), resource.version.clone(), last.to_owned());
        self.kinds.insert(by(&resource.kind), Arc::clone(&resource));
        self.resources.insert(by(&resource.plural), Arc::clone(&resource));
    }

    /// Stops serving every version of a resource.
    pub fn remove(&mut self, group: &str, plural: &str) {
        let gone = |resource: &Arc<Resource>| resource.group == group && resource.plural == plural;
        self.kinds.retain(|_, resource| !gone(resource));
        self.resources.retain(|_, resource| !gone(resource));
    }

    /// Finds a resource by its plural name.
    pub fn by_plural(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// Finds a resource by the kind of its objects.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Resource>> {
        let (group, version) = split_api_version(api_version);
        self.kinds.get(&(group.to_owned(), version.to_owned(), kind.to_owned()))
    }

    /// All groups in order, each with its versions in order of preference.
    pub fn groups(&self) -> BTreeMap<String, Vec<String>> {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (group, version, _) in self.resources.keys() {
            let versions = groups.entry(group.clone()).or_default();
            if !versions.contains(version) {
                versions.push(version.clone());
            }
        }
        for versions in groups.values_mut() {
            versions.sort_by_key(|version| std::cmp::Reverse(version_rank(version)));
        }
        groups
    }
}

/// Orders versions as Kubernetes does: general availability before beta before alpha, newer first.
fn version_rank(version: &str) -> (u8, u64, u64) {
    let digits = |text: &str| text.parse::<u64>().unwrap_or(0);
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    if let Some((major, minor)) = rest.split_once("beta") {
        (2, digits(major), digits(minor))
    } else if let Some((major, minor)) = rest.split_once("alpha") {
        (1, digits(major), digits(minor))
    } else {
        (3, digits(rest), 0)
    }
}
