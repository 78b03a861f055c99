//! Authorisation of the subject's controller, as a real server's RBAC would decide.
//!
//! The embedded API server lets everybody do everything. A [`Guard`] stands between the controller and the
//! server, refuses with 403 what its rules do not grant, and remembers what was used: rules that nobody used
//! are rules that nobody needs. It knows resource rules with groups, resources, subresources, verbs and names,
//! and the rule against escalation (a Role may grant only what its creator holds); no users, no aggregation, no
//! namespaces.
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use apiserver::{ApiServer, Body};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use json::json;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role};
use kube::client::Body as RequestBody;

/// One thing that may be done: a verb on a resource, or on a resource of one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name, with `/subresource` if there is one.
    pub resource: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, `use`.
    pub verb: String,
    /// The only name that is meant; empty for all.
    pub name: String,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = if self.group.is_empty() { "core" } else { &self.group };
        write!(f, "{} {} of {group}", self.verb, self.resource)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " named {}", self.name) }
    }
}

/// Every single access that rules grant; wildcards stay as they are written.
pub fn granted(rules: &[PolicyRule]) -> BTreeSet<Access> {
    let all = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let mut granted = BTreeSet::new();
    for rule in rules {
        let names = match all(&rule.resource_names) {
            names if names.is_empty() => vec![String::new()],
            names => names,
        };
        for group in all(&rule.api_groups) {
            for resource in all(&rule.resources) {
                for verb in &rule.verbs {
                    for name in &names {
                        granted.insert(Access {
                            group: group.clone(),
                            resource: resource.clone(),
                            verb: verb.clone(),
                            name: name.clone(),
                        });
                    }
                }
            }
        }
    }
    granted
}

/// What a request wants; `None` for paths that hold no resource (discovery, version).
///
/// The second part is the name of the object, empty for collections.
pub fn wanted(method: &Method, uri: &Uri) -> Option<(Access, String)> {
    let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let rest = match rest {
        // The namespace itself, or something in it.
        ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => rest,
        ["namespaces", _, inside @ ..] => inside,
        _ => rest,
    };
    let (resource, name) = match rest {
        [resource] => ((*resource).to_owned(), ""),
        [resource, name] => ((*resource).to_owned(), *name),
        [resource, name, subresource, ..] => (format!("{resource}/{subresource}"), *name),
        [] => return None,
    };
    let is_watch = uri
        .query()
        .is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")));
    let verb = match *method {
        Method::GET if is_watch => "watch",
        Method::GET if name.is_empty() => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        _ => "get",
    };
    let access = Access { group: group.to_owned(), resource, verb: verb.to_owned(), name: String::new() };
    Some((access, name.to_owned()))
}

/// Rules, and what of them was used; clones share the memory.
#[derive(Clone, Debug)]
pub struct Guard {
    granted: Arc<BTreeSet<Access>>,
    used: Arc<Mutex<BTreeSet<Access>>>,
    refused: Arc<Mutex<BTreeSet<Access>>>,
}

static INSTALLED: OnceLock<Guard> = OnceLock::new();

impl Guard {
    /// Grants exactly these rules.
    pub fn new(rules: &[PolicyRule]) -> Self {
        Self { granted: Arc::new(granted(rules)), used: Arc::default(), refused: Arc::default() }
    }
    /// Stands in front of every reference controller that this process starts from now on, once.
    pub fn install(&self) {
        assert!(INSTALLED.set(self.clone()).is_ok(), "a guard stands already");
    }
    pub(crate) fn installed() -> Option<Self> {
        INSTALLED.get().cloned()
    }
    /// What was granted and used.
    pub fn used(&self) -> BTreeSet<Access> {
        self.used.lock().expect("no holder of the lock panics").clone()
    }
    /// What was wanted and not granted.
    pub fn refused(&self) -> BTreeSet<Access> {
        self.refused.lock().expect("no holder of the lock panics").clone()
    }
    /// What was granted and never used.
    pub fn unused(&self) -> BTreeSet<Access> {
        self.granted.difference(&self.used()).cloned().collect()
    }

    /// Decides, and remembers.
    pub fn allows(&self, access: &Access, name: &str) -> bool {
        let named = Access { name: name.to_owned(), ..access.clone() };
        let rule = [access, &named].into_iter().find(|rule| self.granted.contains(*rule));
        let memory = if rule.is_some() { &self.used } else { &self.refused };
        memory.lock().expect("no holder of the lock panics").insert(rule.unwrap_or(access).clone());
        rule.is_some()
    }
    /// A Role may grant only what its creator holds.
    fn allows_role(&self, body: &[u8]) -> bool {
        let role: Role = serde_json::from_slice(body).unwrap_or_default();
        let given = granted(&role.rules.unwrap_or_default());
        given.iter().all(|access| {
            let general = Access { name: String::new(), ..access.clone() };
            self.allows(&general, &access.name)
        })
    }

    /// A client that may do what the rules say.
    pub fn client(&self, server: &ApiServer, caller: &str) -> kube::Client {
        let (service, guard) = (server.service(caller), self.clone());
        let service = tower::service_fn(move |request: Request<RequestBody>| {
            let (mut service, guard) = (service.clone(), guard.clone());
            async move {
                let wanted = wanted(request.method(), request.uri());
                let (parts, body) = request.into_parts();
                let mut body = body;
                let mut is_allowed = wanted.as_ref().is_none_or(|(access, name)| guard.allows(access, name));
                if let Some((access, _)) = &wanted
                    && is_allowed
                    && access.resource == "roles"
                    && access.verb == "create"
                {
                    let bytes = body.collect_bytes().await.unwrap_or_default();
                    is_allowed = guard.allows_role(&bytes);
                    body = RequestBody::from(bytes);
                }
                if !is_allowed {
                    return Ok(forbidden(&wanted.map_or_else(String::new, |(access, _)| access.to_string())));
                }
                let request = Request::from_parts(parts, body);
                let answer: Result<Response<Body>, _> = tower::Service::call(&mut service, request).await;
                answer.map(|answer| answer.map(Either::Left))
            }
        });
        kube::Client::new(service, "default")
    }
}

fn forbidden(what: &str) -> Response<Either<Body, Full<Bytes>>> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 403, "reason": "Forbidden",
        "message": format!("forbidden: the controller cannot {what}"),
    });
    let mut answer = Response::new(Either::Right(Full::new(Bytes::from(status.to_string()))));
    *answer.status_mut() = StatusCode::FORBIDDEN;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, uri: &str, expected: Option<(&str, &str)>) {
        let wanted = wanted(&method, &uri.parse().unwrap());
        let shown = wanted.map(|(access, name)| (access.to_string(), name));
        assert_eq!(
            shown,
            expected.map(|(access, name)| (access.to_owned(), name.to_owned())),
            "{method} {uri}"
        );
    }

    #[test]
    fn requests_are_read_as_a_server_reads_them() {
        check(
            Method::GET,
            "/api/v1/namespaces/a/pods/b/log?tailLines=5",
            Some(("get pods/log of core", "b")),
        );
        check(Method::GET, "/api/v1/namespaces/a", Some(("get namespaces of core", "a")));
        check(Method::GET, "/api/v1/pods?watch=true", Some(("watch pods of core", "")));
        check(Method::GET, "/apis/batch/v1/namespaces/a/jobs", Some(("list jobs of batch", "")));
        check(
            Method::PATCH,
            "/apis/volsync.backube/v1alpha1/namespaces/a/replicationsources/b/status",
            Some(("patch replicationsources/status of volsync.backube", "b")),
        );
        check(Method::DELETE, "/api/v1/namespaces/a/pods", Some(("deletecollection pods of core", "")));
        check(Method::GET, "/version", None);
        check(Method::GET, "/apis/batch/v1", None);
    }

    #[test]
    fn a_role_may_not_give_what_its_maker_lacks() {
        let rule = |names: Option<Vec<String>>| PolicyRule {
            api_groups: Some(vec!["security.openshift.io".into()]),
            resources: Some(vec!["securitycontextconstraints".into()]),
            resource_names: names,
            verbs: vec!["use".into()],
            ..PolicyRule::default()
        };
        let named = rule(Some(vec!["volsync-privileged-mover".into()]));
        let role = |rule: &PolicyRule| {
            serde_json::to_vec(&json!({"rules": [json::to_value(rule).unwrap()]})).unwrap()
        };
        let guard = Guard::new(std::slice::from_ref(&named));
        assert!(guard.allows_role(&role(&named)));
        assert!(!guard.allows_role(&role(&rule(None))));
        assert!(!Guard::new(&[]).allows_role(&role(&named)));
        assert_eq!((guard.used().len(), guard.refused().len(), guard.unused().len()), (1, 1, 0));
    }
}
