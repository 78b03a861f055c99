//! The table of built-in resources.

use crate::resource::{Registry, Resource, Scale};

/// One row: group, version, plural, kind, scope and traits, short names, categories.
///
/// Traits: `n` namespaced, `s` status subresource, `g` counts generations, `c` scale subresource, `d` answers
/// deletions with the object, `o` orphans by default, `r` review (nothing is stored).
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    ("", "v1", "pods", "Pod", "nsgd", "po", "all"),
    ("", "v1", "configmaps", "ConfigMap", "n", "cm", ""),
    ("", "v1", "secrets", "Secret", "n", "", ""),
    ("", "v1", "services", "Service", "nsd", "svc", "all"),
    ("", "v1", "serviceaccounts", "ServiceAccount", "nd", "sa", ""),
    ("", "v1", "endpoints", "Endpoints", "n", "ep", ""),
    ("", "v1", "events", "Event", "n", "ev", ""),
    ("", "v1", "namespaces", "Namespace", "s", "ns", ""),
    ("", "v1", "nodes", "Node", "s", "no", ""),
    ("", "v1", "persistentvolumes", "PersistentVolume", "sd", "pv", ""),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "nsd", "pvc", ""),
    ("", "v1", "resourcequotas", "ResourceQuota", "nsd", "quota", ""),
    ("", "v1", "limitranges", "LimitRange", "n", "limits", ""),
    ("", "v1", "podtemplates", "PodTemplate", "ngd", "", ""),
    ("", "v1", "replicationcontrollers", "ReplicationController", "nsgo", "rc", "all"),
    ("apps", "v1", "deployments", "Deployment", "nsgc", "deploy", "all"),
    ("apps", "v1", "statefulsets", "StatefulSet", "nsgc", "sts", "all"),
    ("apps", "v1", "daemonsets", "DaemonSet", "nsg", "ds", "all"),
    ("apps", "v1", "replicasets", "ReplicaSet", "nsgc", "rs", "all"),
    ("apps", "v1", "controllerrevisions", "ControllerRevision", "n", "", ""),
    ("batch", "v1", "jobs", "Job", "nsgo", "", "all"),
    ("batch", "v1", "cronjobs", "CronJob", "nsg", "cj", "all"),
    ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "ns", "hpa", "all"),
    ("rbac.authorization.k8s.io", "v1", "roles", "Role", "n", "", ""),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", "n", "", ""),
    ("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", "", "", ""),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", "", "", ""),
    ("coordination.k8s.io", "v1", "leases", "Lease", "n", "", ""),
    ("storage.k8s.io", "v1", "storageclasses", "StorageClass", "d", "sc", ""),
    ("storage.k8s.io", "v1", "csidrivers", "CSIDriver", "d", "", ""),
    ("storage.k8s.io", "v1", "csinodes", "CSINode", "d", "", ""),
    ("storage.k8s.io", "v1", "csistoragecapacities", "CSIStorageCapacity", "n", "", ""),
    ("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", "sd", "", ""),
    ("storage.k8s.io", "v1", "volumeattributesclasses", "VolumeAttributesClass", "d", "vac", ""),
    ("storage.k8s.io", "v1beta1", "volumeattributesclasses", "VolumeAttributesClass", "d", "vac", ""),
    ("events.k8s.io", "v1", "events", "Event", "n", "ev", ""),
    (
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "sg",
        "crd,crds",
        "api-extensions",
    ),
    ("apiregistration.k8s.io", "v1", "apiservices", "APIService", "s", "", "api-extensions"),
    (
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        "g",
        "",
        "api-extensions",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        "g",
        "",
        "api-extensions",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        "sg",
        "",
        "api-extensions",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        "g",
        "",
        "api-extensions",
    ),
    (
        "admissionregistration.k8s.io",
        "v1beta1",
        "mutatingadmissionpolicies",
        "MutatingAdmissionPolicy",
        "g",
        "",
        "api-extensions",
    ),
    (
        "admissionregistration.k8s.io",
        "v1beta1",
        "mutatingadmissionpolicybindings",
        "MutatingAdmissionPolicyBinding",
        "g",
        "",
        "api-extensions",
    ),
    (
        "admissionregistration.k8s.io",
        "v1alpha1",
        "mutatingadmissionpolicies",
        "MutatingAdmissionPolicy",
        "g",
        "",
        "api-extensions",
    ),
    (
        "admissionregistration.k8s.io",
        "v1alpha1",
        "mutatingadmissionpolicybindings",
        "MutatingAdmissionPolicyBinding",
        "g",
        "",
        "api-extensions",
    ),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "nsg", "pdb", ""),
    ("networking.k8s.io", "v1", "ingresses", "Ingress", "nsg", "ing", ""),
    ("networking.k8s.io", "v1", "ingressclasses", "IngressClass", "g", "", ""),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "ng", "netpol", ""),
    ("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", "g", "pc", ""),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", "ng", "", ""),
    ("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", "", "", ""),
    ("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", "r", "", ""),
    ("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", "r", "", ""),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", "r", "", ""),
    ("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", "r", "", ""),
    ("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", "r", "", ""),
    ("authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", "rn", "", ""),
];

/// Serves all built-in resources; returns how many shelves they need.
pub(crate) fn register(registry: &mut Registry) -> usize {
    let mut shelves: Vec<(&str, &str)> = Vec::new();
    for (group, version, plural, kind, traits, short_names, categories) in ROWS {
        // Both event groups are spellings of one set of objects.
        let home = if *plural == "events" { ("", "events") } else { (*group, *plural) };
        let shelf = shelves.iter().position(|shelf| *shelf == home).unwrap_or_else(|| {
            shelves.push(home);
            shelves.len() - 1
        });
        let has = |letter: char| traits.contains(letter);
        let words = |text: &str| text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        registry.insert(Resource {
            group: (*group).to_owned(),
            version: (*version).to_owned(),
            plural: (*plural).to_owned(),
            singular: kind.to_lowercase(),
            kind: (*kind).to_owned(),
            list_kind: format!("{kind}List"),
            short_names: words(short_names),
            categories: words(categories),
            namespaced: has('n'),
            has_status: has('s'),
            scale: has('c').then(|| Scale {
                spec_replicas: vec!["spec".to_owned(), "replicas".to_owned()],
                status_replicas: vec!["status".to_owned(), "replicas".to_owned()],
                label_selector: None,
            }),
            counts_generation: has('g'),
            returns_deleted: has('d'),
            orphans_by_default: has('o'),
            is_review: has('r'),
            custom: None,
            shelf,
        });
    }
    shelves.len()
}
