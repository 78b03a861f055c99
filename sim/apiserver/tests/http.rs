//! The server on a socket, as curl and stock kubectl use it.
//!
//! The kubectl part skips with a reason when there is no kubectl.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;

use apiserver::{ApiServer, Options, serve};
use json::json;

/// Serves a cluster from a thread of its own.
fn start() -> (SocketAddr, ApiServer) {
    let now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let server = ApiServer::new(Options::new(Arc::new(move || now), 1));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("non-blocking");
    let served = server.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("listener");
            serve(listener, served).await
        })
    });
    (address, server)
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connected");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn plain_http_is_answered() {
    let (address, _server) = start();
    assert!(get(address, "/version").contains("\"gitVersion\":\"v1.34"));
    assert!(get(address, "/readyz").ends_with("ok"));
    let missing = get(address, "/api/v1/namespaces/default/pods/x");
    assert!(missing.starts_with("HTTP/1.1 404") && missing.contains(r#"pods \"x\" not found"#), "{missing}");
    assert!(
        get(address, "/apis/nothing/v1/things").contains("the server could not find the requested resource")
    );
    let watch = get(address, "/api/v1/namespaces?watch=1&timeoutSeconds=1");
    assert!(watch.contains(r#"{"type":"ADDED","object":{"apiVersion":"v1","kind":"Namespace""#), "{watch}");
}

struct Kubectl {
    address: SocketAddr,
    home: tempfile::TempDir,
}

impl Kubectl {
    fn run(&self, arguments: &str, input: &str) -> (bool, String) {
        let mut child = Command::new("kubectl")
            .arg(format!("--server=http://{}", self.address))
            .args(arguments.split_whitespace())
            .env("HOME", self.home.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("kubectl runs");
        child.stdin.take().expect("input").write_all(input.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("kubectl ends");
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    /// Runs a command that succeeds; shows what it printed with single spaces.
    fn good(&self, arguments: &str, input: &str) -> String {
        let (is_good, text) = self.run(arguments, input);
        assert!(is_good, "kubectl {arguments}: {text}");
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

const MANIFESTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: "1"}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], storageClassName: fast, resources: {requests: {storage: 1Gi}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {size: {type: integer, minimum: 1}}}}
"#;

const WIDGET: &str = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: SIZE}\n";

#[test]
fn stock_kubectl_works() {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        println!("skipped: no kubectl on PATH");
        return;
    }
    let (address, server) = start();
    let kubectl = Kubectl { address, home: tempfile::tempdir().expect("a folder") };
    assert_eq!(
        kubectl.good("apply -f -", MANIFESTS),
        "configmap/settings created\npersistentvolumeclaim/data created\ncustomresourcedefinition.apiextensions.k8s.io/widgets.example.com created"
    );
    assert!(kubectl.good("apply -f -", MANIFESTS).contains("configmap/settings unchanged"));
    assert_eq!(kubectl.good("create -f -", &WIDGET.replace("SIZE", "3")), "widget.example.com/w created");
    assert_eq!(kubectl.good("get wd", ""), "NAME SIZE AGE\nw 3 0s");
    let (is_good, text) = kubectl.run("apply -f -", &WIDGET.replace("SIZE", "0"));
    assert!(!is_good && text.contains(r#"The Widget "w" is invalid: spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"#), "{text}");
    let (is_good, text) =
        kubectl.run("create -f -", &WIDGET.replace("SIZE", "1}\nspecs: {").replace("name: w", "name: v"));
    assert!(!is_good && text.contains(r#"strict decoding error: unknown field "specs""#), "{text}");
    assert_eq!(
        kubectl.good("get pvc", ""),
        "NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE\ndata Pending fast <unset> 0s"
    );
    assert_eq!(
        kubectl.good("patch cm settings -p {\"data\":{\"b\":\"2\"}}", ""),
        "configmap/settings patched"
    );
    assert_eq!(kubectl.good("get cm settings -o jsonpath={.data.b}", ""), "2");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    server.direct("user").create(pod).expect("created");
    server.set_pod_log("default", "p", "c", "one\ntwo\nthree\n");
    assert_eq!(kubectl.good("logs p --tail=2", ""), "two\nthree");
    assert!(kubectl.good("describe pod p", "").contains("Service Account: default"));
    assert!(kubectl.good("get all -A", "").contains("default pod/p 0/1 Pending 0 0s"));
    assert_eq!(kubectl.good("delete pod p", ""), "pod \"p\" deleted");
    assert_eq!(kubectl.good("delete cm settings --wait=true", ""), "configmap \"settings\" deleted");
}
