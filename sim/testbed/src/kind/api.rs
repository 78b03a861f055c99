//! The API of a real cluster, by kind and name, as plain JSON.
//!
//! Kinds are learnt once from the server's own discovery. Refusals come back in the same shape as on the
//! embedded bed, with the server's own sentence. It caches no object and retries nothing.

use std::{collections::BTreeMap, time::Duration};

use apiserver::Failure;
use json::Value;
use kube::{
    Client,
    api::{
        Api, ApiResource, AttachParams, DeleteParams, DynamicObject, ListParams, Patch, PatchParams,
        PostParams,
    },
    discovery::{Discovery, Scope},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The field manager under which the bed writes: a user.
const USER: &str = "user";
/// Groups whose kinds win where a kind exists in several.
const FIRST: &[&str] = &["", "apps", "batch", "storage.k8s.io", "snapshot.storage.k8s.io", "volsync.backube"];
/// How much of a stream is under way to or from a pod at once.
const BUFFER: usize = 256 << 10;

/// A cluster by kind and name.
#[derive(Clone)]
pub(super) struct Objects {
    client: Client,
    kinds: BTreeMap<String, (ApiResource, bool)>,
}

impl Objects {
    /// Learns the kinds that the server has.
    pub async fn discover(client: Client) -> Result<Self, kube::Error> {
        let discovery = Discovery::new(client.clone()).run_aggregated().await?;
        let mut kinds = BTreeMap::new();
        let rank = |group: &str| FIRST.iter().position(|first| *first == group).unwrap_or(FIRST.len());
        let mut groups: Vec<_> = discovery.groups().collect();
        groups.sort_by_key(|group| rank(group.name()));
        for group in groups {
            for (resource, capabilities) in group.recommended_resources() {
                let entry = (resource.clone(), matches!(capabilities.scope, Scope::Namespaced));
                let full = format!("{}.{}", resource.kind, resource.group);
                kinds.insert(full, entry.clone());
                kinds.entry(resource.kind.clone()).or_insert(entry);
            }
        }
        Ok(Self { client, kinds })
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How the server calls a kind, and whether its objects live in namespaces.
    pub fn known(&self, kind: &str) -> Option<&(ApiResource, bool)> {
        self.kinds.get(kind)
    }

    /// All objects of a kind, whatever their namespace.
    pub fn all(&self, kind: &str) -> Option<Api<DynamicObject>> {
        let (resource, _) = self.known(kind)?;
        Some(Api::all_with(self.client.clone(), resource))
    }

    fn within(&self, kind: &str, namespace: &str) -> Option<Api<DynamicObject>> {
        let (resource, namespaced) = self.known(kind)?;
        Some(if *namespaced && !namespace.is_empty() {
            Api::namespaced_with(self.client.clone(), namespace, resource)
        } else {
            Api::all_with(self.client.clone(), resource)
        })
    }

    /// One object; none if there is none or nobody knows the kind.
    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>, Failure> {
        let Some(api) = self.within(kind, namespace) else { return Ok(None) };
        let found = api.get_opt(name).await.map_err(refusal)?;
        Ok(found.map(|object| self.plain(kind, object)))
    }

    /// All objects of a kind in a namespace, or (empty) everywhere, sorted by namespace and name.
    pub async fn list(&self, kind: &str, namespace: &str) -> Result<Vec<Value>, Failure> {
        let Some(api) = self.within(kind, namespace) else { return Ok(Vec::new()) };
        let list = api.list(&ListParams::default()).await.map_err(refusal)?;
        let mut objects: Vec<_> = list.items.into_iter().map(|object| self.plain(kind, object)).collect();
        objects.sort_by_key(|object| {
            let text = |pointer: &str| {
                object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            (text("/metadata/namespace"), text("/metadata/name"))
        });
        Ok(objects)
    }

    /// Server-side apply, forced.
    pub async fn apply(&self, object: &Value) -> Result<Value, Failure> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind = full_kind(text("/apiVersion"), text("/kind"));
        let api = self.within(&kind, text("/metadata/namespace")).ok_or_else(|| unknown(&kind))?;
        let params = PatchParams::apply(USER).force();
        let done = api.patch(text("/metadata/name"), &params, &Patch::Apply(object)).await;
        done.map(|object| self.plain(&kind, object)).map_err(refusal)
    }

    /// Creates an object; one of that name is a refusal.
    pub async fn create(&self, object: &Value) -> Result<Value, Failure> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind = full_kind(text("/apiVersion"), text("/kind"));
        let api = self.within(&kind, text("/metadata/namespace")).ok_or_else(|| unknown(&kind))?;
        let object: DynamicObject = json::from_value(object.clone())
            .map_err(|error| failure(400, "BadRequest", error.to_string()))?;
        let params = PostParams { field_manager: Some(USER.to_owned()), ..PostParams::default() };
        api.create(&params, &object).await.map(|object| self.plain(&kind, object)).map_err(refusal)
    }

    /// A JSON merge patch.
    pub async fn patch(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, Failure> {
        let api = self.within(kind, namespace).ok_or_else(|| unknown(kind))?;
        let params = PatchParams { field_manager: Some(USER.to_owned()), ..PatchParams::default() };
        let done = api.patch(name, &params, &Patch::Merge(patch)).await;
        done.map(|object| self.plain(kind, object)).map_err(refusal)
    }

    /// Deletes an object in the background; an absent one is fine. `grace` in seconds, the kind's own if not said.
    pub async fn delete(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        grace: Option<u32>,
    ) -> Result<(), Failure> {
        let Some(api) = self.within(kind, namespace) else { return Ok(()) };
        let params = DeleteParams { grace_period_seconds: grace, ..DeleteParams::background() };
        match api.delete(name, &params).await.map_err(refusal) {
            Err(refused) if refused.code == 404 => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Runs a command in a pod, with bytes on its standard input, and gives what it prints.
    ///
    /// # Errors
    /// A sentence with what it printed on standard error, if it failed or could not be run.
    pub async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        command: &[&str],
        input: Option<Vec<u8>>,
        limit: Duration,
    ) -> Result<Vec<u8>, String> {
        self.exec_in(namespace, pod, "", command, input, limit).await
    }

    /// As [`Objects::exec`], in one of the pod's containers; empty for its first.
    pub async fn exec_in(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
        input: Option<Vec<u8>>,
        limit: Duration,
    ) -> Result<Vec<u8>, String> {
        let what = format!("{} in the pod {namespace}/{pod}", command.join(" "));
        let run = self.exec_unlimited(namespace, pod, container, command, input);
        match tokio::time::timeout(limit, run).await {
            Ok(done) => done.map_err(|error| format!("{what} failed: {error}")),
            Err(_) => Err(format!("{what} did not end within {} s", limit.as_secs())),
        }
    }

    async fn exec_unlimited(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
        input: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, String> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = AttachParams::default()
            .stdin(input.is_some())
            .stdout(true)
            .stderr(true)
            .max_stdin_buf_size(BUFFER)
            .max_stdout_buf_size(BUFFER)
            .max_stderr_buf_size(BUFFER);
        let params = if container.is_empty() { params } else { params.container(container) };
        let mut process = pods.exec(pod, command.to_vec(), &params).await.map_err(|error| chain(&error))?;
        let status = process.take_status().ok_or("the server promised no status")?;
        let stdin = process.stdin();
        let mut stdout = process.stdout().ok_or("the server gave no standard output")?;
        let mut stderr = process.stderr().ok_or("the server gave no standard error")?;
        let write = async {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // A command that ends early tells why on its standard error.
                if stdin.write_all(&input).await.is_ok() {
                    let _ = stdin.shutdown().await;
                }
            }
        };
        let (mut printed, mut complained) = (Vec::new(), Vec::new());
        let read =
            async { tokio::try_join!(stdout.read_to_end(&mut printed), stderr.read_to_end(&mut complained)) };
        let ((), read, status) = tokio::join!(write, read, status);
        read.map_err(|error| error.to_string())?;
        match status {
            Some(status) if status.status.as_deref() == Some("Success") => Ok(printed),
            Some(status) => Err(format!(
                "{}; {}",
                status.message.unwrap_or_default(),
                String::from_utf8_lossy(&complained).trim()
            )),
            None => Err(format!(
                "the connection ended without a status; {}",
                String::from_utf8_lossy(&complained).trim()
            )),
        }
    }

    /// An object as plain JSON, its kind included.
    pub fn plain(&self, kind: &str, object: DynamicObject) -> Value {
        let mut value = json::to_value(object).expect("an object is plain data");
        if let Some((resource, _)) = self.known(kind) {
            value["apiVersion"] = Value::from(resource.api_version.as_str());
            value["kind"] = Value::from(resource.kind.as_str());
        }
        value
    }
}

/// `Kind.group`, or `Kind` in the core group.
fn full_kind(version: &str, kind: &str) -> String {
    match version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}"),
        None => kind.to_owned(),
    }
}

fn unknown(kind: &str) -> Failure {
    failure(
        404,
        "NotFound",
        format!("the cluster has no resource of the kind {kind}: is its definition installed?"),
    )
}

fn failure(code: u16, reason: &'static str, message: String) -> Failure {
    Failure { code, reason, message, details: Value::Null }
}

/// A client's error in the shape that all beds share.
pub(super) fn refusal(error: kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => {
            let known =
                ["NotFound", "AlreadyExists", "Conflict", "Invalid", "Forbidden", "BadRequest", "Expired"];
            let reason = known.into_iter().find(|known| *known == status.reason).unwrap_or("Unknown");
            failure(status.code, reason, status.message)
        }
        other => failure(503, "ServiceUnavailable", chain(&other)),
    }
}

/// An error with all its sources.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = next.source();
    }
    text
}
