//! `firedrill serve` as a process, spoken to by plain HTTP as curl would.
//!
//! A replication source that is created by HTTP gets its `lastSyncTime`: once from the reference inside,
//! once (with `--subject none`) from the `controller` program, which is given nothing but the kubeconfig.
//! Ctrl-C ends it with 0 and leaves nothing. The clock on the wall runs here, so that each wait has a
//! deadline in real time and ends with the event.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use acceptance::binary::{self, Profile};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(120);
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const SOURCES: &str = "/apis/volsync.backube/v1alpha1/namespaces/default/replicationsources";

/// A process that does not outlive its test.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Served {
    process: Kept,
    address: String,
    kubeconfig: PathBuf,
    folder: tempfile::TempDir,
}

fn program(package: &str, name: &str) -> PathBuf {
    binary::program(package, name, Profile::Debug).expect("a debug build is always to be had")
}

fn serve(subject: &str) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("deep/kubeconfig");
    let mut child = Command::new(program("runner", "firedrill"))
        .current_dir(folder.path())
        .args(["serve", "--port", "0", "--subject", subject, "--kubeconfig"])
        .arg(&kubeconfig)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line
        .split_once("http://")
        .and_then(|(_, rest)| rest.split_once(": "))
        .expect("it says where it is")
        .0;
    Served { process: Kept(child), address: address.to_owned(), kubeconfig, folder }
}

impl Served {
    /// Sends a request; answers are read line by line, as a watch sends them.
    fn send(&self, method: &str, path: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nUser-Agent: curl/8\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
            self.address
        )
        .unwrap();
        BufReader::new(stream)
    }

    fn create(&self, path: &str, object: &Value) {
        let mut answer = String::new();
        self.send("POST", path, &object.to_string()).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 201"), "{answer}");
    }

    /// Claim, Secret and replication source, as small as they can be.
    fn furnish(&self) {
        self.create(
            CLAIMS,
            &json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }),
        );
        self.create(
            SECRETS,
            &json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "repo"},
                "stringData": {
                    "KOPIA_REPOSITORY": "s3://backups", "KOPIA_PASSWORD": "correct horse", "KOPIA_S3_BUCKET": "backups",
                    "KOPIA_S3_ENDPOINT": "minio:9000", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
                },
            }),
        );
        self.create(
            SOURCES,
            &json!({
                "apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource", "metadata": {"name": "app"},
                "spec": {"sourcePVC": "data", "trigger": {"manual": "one"}, "kopia": {"repository": "repo", "copyMethod": "Direct"}},
            }),
        );
    }

    /// Watches the replication source until it has synchronised; the time of it.
    fn last_sync(&self) -> String {
        let seconds = DEADLINE.as_secs();
        let watch =
            self.send("GET", &format!("{SOURCES}?watch=1&timeoutSeconds={seconds}&resourceVersion=0"), "");
        let mut last = String::new();
        for line in watch.lines() {
            last = line.expect("it ends within the deadline");
            let Ok(event) = serde_json::from_str::<Value>(&last) else { continue };
            if let Some(time) = event.pointer("/object/status/lastSyncTime").and_then(Value::as_str) {
                assert_eq!(event["object"]["status"]["lastManualSync"], "one", "{last}");
                return time.to_owned();
            }
        }
        panic!("no sync within {seconds} s; the last that was seen: {last}");
    }

    /// Ctrl-C: ends with 0, and neither the file nor the socket stays.
    fn interrupt(mut self) {
        let ended = Command::new("kill").args(["-INT", &self.process.0.id().to_string()]).status().unwrap();
        assert!(ended.success());
        let ended = self.process.0.wait().unwrap();
        assert_eq!(ended.code(), Some(0), "{ended}");
        assert!(!self.kubeconfig.exists(), "the kubeconfig is left behind");
        assert!(TcpStream::connect(&self.address).is_err(), "somebody still listens");
        let left: Vec<_> =
            std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["deep"], "only the folder that was asked for");
    }
}

fn is_recent(time: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "a served cluster shows the time on the wall")]
    let now = jiff::Timestamp::now();
    let time: jiff::Timestamp = time.parse().unwrap();
    now.duration_since(time).as_secs() < 2 * i64::try_from(DEADLINE.as_secs()).unwrap()
}

#[test]
fn a_replication_source_created_by_http_is_synchronised() {
    let served = serve("reference");
    served.furnish();
    assert!(is_recent(&served.last_sync()));
    served.interrupt();
}

#[test]
fn the_controller_program_works_on_it_over_http() {
    let served = serve("none");
    served.furnish();
    let log = std::fs::File::create(served.folder.path().join("deep/controller.log")).unwrap();
    let controller = Command::new(program("controller", "controller"))
        .arg("--kubeconfig")
        .arg(&served.kubeconfig)
        .stderr(log)
        .spawn()
        .map(Kept)
        .unwrap();
    assert!(is_recent(&served.last_sync()));
    drop(controller);
    served.interrupt();
}

#[test]
fn a_port_that_is_taken_is_told_with_its_cure() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(program("runner", "firedrill"))
        .current_dir(folder.path())
        .args(["serve", "--port", &port, "--kubeconfig", "config"])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("--port 0"), "{words}");
    assert!(!Path::new(&folder.path().join("config")).exists());
}

#[test]
fn a_cluster_that_nobody_marked_is_left_alone() {
    let served = serve("none");
    let namespaces = || {
        let mut answer = String::new();
        served.send("GET", "/api/v1/namespaces", "").read_to_string(&mut answer).unwrap();
        answer.matches("creationTimestamp").count()
    };
    let before = namespaces();
    let run = |mark: bool| {
        let mut command = Command::new(program("runner", "firedrill"));
        command.current_dir(served.folder.path()).args(["run", "--bed", "attached", "--kubeconfig"]);
        command.arg(&served.kubeconfig).arg(binary::root().join("features/nightly.feature"));
        let ended = command.output().unwrap();
        assert_eq!(ended.status.code(), Some(3), "marked: {mark}, {ended:?}");
        String::from_utf8(ended.stderr).unwrap()
    };
    let said = run(false);
    assert!(said.contains("is not marked as one for fire drills"), "{said}");
    assert!(said.contains("kubectl label namespace firedrill-drills"), "{said}");
    assert_eq!(namespaces(), before, "nothing was made");
    // With the mark it goes on, and finds a cluster that tells nothing about itself.
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "firedrill-drills", "labels": {"firedrill.dev/drills": "allowed"}},
    });
    served.create("/api/v1/namespaces", &namespace);
    let said = run(true);
    assert!(said.contains("the ConfigMap firedrill-drills/coordinates"), "{said}");
    assert!(said.contains("--bed kind --keep"), "{said}");
}
