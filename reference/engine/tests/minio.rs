//! A real MinIO, and a real Kopia on the same bucket.
//!
//! `FIREDRILL_MINIO` names an endpoint (`http://127.0.0.1:9000`, keys `minioadmin`) or the program; else a
//! `minio` on PATH is started. Without any the tests say so and pass, unless `FIREDRILL_REQUIRE` contains
//! `minio`; the turns with Kopia need `kopia` on PATH as well.

#[path = "support/promises.rs"]
mod promises;
mod support;

use std::{
    fs,
    path::{Path as FilePath, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use engine::{
    BackupOptions, CreateOptions, Filter, Repository, RestoreOptions, Silent, Source, VerifyOptions,
    blob::s3::{self, Options, Patience, Transport},
    context::{Client, Context, Entropy},
    store::{ErrorKind, SharedStore},
    tree::{LocalTree, Path},
};
use http::Method;
use jiff::{Timestamp, tz::TimeZone};
use object_store::{
    aws::AmazonS3Builder,
    client::{HttpRequestBody, HttpService as _},
    signer::Signer as _,
};
use promises::keeps_the_promises;
use support::{compare, fill, noise};

const PASSWORD: &str = "correct horse";
const KEY: &str = "minioadmin";
const BUCKET: &str = "firedrill-engine-test";

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// Skips or fails for want of a part.
fn missing(part: &str, reason: &str) {
    let required = std::env::var("FIREDRILL_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name == part), "FIREDRILL_REQUIRE asks for {part}, but {reason}");
    println!("skipped: {reason}");
}

/// A MinIO: somebody else's, or one that lives as long as this.
struct Minio {
    endpoint: String,
    _own: Option<(Running, tempfile::TempDir)>,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Minio {
    fn find() -> Option<Self> {
        let named = std::env::var("FIREDRILL_MINIO").unwrap_or_default();
        if let Some(endpoint) = named.strip_prefix("http://") {
            return Some(Self { endpoint: endpoint.trim_end_matches('/').to_owned(), _own: None });
        }
        let program = if named.is_empty() { on_path("minio") } else { Some(PathBuf::from(named)) };
        let Some(program) = program else {
            missing("minio", "no minio on PATH and no FIREDRILL_MINIO");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(program)
            .args(["server", "--quiet", "--address", &free.to_string()])
            .arg(folder.path())
            .env("MINIO_ROOT_USER", KEY)
            .env("MINIO_ROOT_PASSWORD", KEY)
            .env("MINIO_BROWSER", "off")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { endpoint: free.to_string(), _own: Some((Running(child), folder)) })
    }
    fn options(&self, prefix: &str) -> Options {
        Options {
            endpoint: self.endpoint.clone(),
            bucket: BUCKET.to_owned(),
            prefix: prefix.to_owned(),
            region: String::new(),
            disable_tls: true,
            root_ca_pem: None,
            access_key: KEY.to_owned(),
            secret_key: KEY.to_owned(),
            session_token: String::new(),
            // It may still be starting.
            patience: Patience { retries: 60, ..Patience::default() },
        }
    }
    /// A prefix of its own in the test's bucket, which is made if it is missing.
    fn prefix(&self, name: &str) -> String {
        let client = AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.endpoint))
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(BUCKET)
            .with_access_key_id(KEY)
            .with_secret_access_key(KEY)
            .with_http_connector(Transport::new(None, Patience::default()).unwrap())
            .build()
            .unwrap();
        let root = object_store::path::Path::default();
        block_on(async {
            let probe = s3::open(&self.options("")).unwrap().list("probe").await;
            if matches!(&probe, Err(error) if error.kind == ErrorKind::Misconfigured) {
                let url = client.signed_url(Method::PUT, &root, Duration::from_secs(60)).await.unwrap();
                let request = http::Request::put(url.as_str()).body(HttpRequestBody::empty()).unwrap();
                let transport = Transport::new(None, Patience::default()).unwrap();
                let answer = transport.call(request).await.unwrap();
                assert!(answer.status().is_success() || answer.status() == 409, "{answer:?}");
            } else {
                probe.unwrap();
            }
        });
        format!("{name}-{}-{}/", std::process::id(), real_time().as_nanosecond())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "MinIO and kopia live in real time, and so must we when we take turns with them"
)]
fn real_time() -> Timestamp {
    Timestamp::try_from(std::time::SystemTime::now()).unwrap()
}

fn context() -> Context {
    Context {
        now: Arc::new(real_time),
        entropy: Entropy::new(|buffer| getrandom::fill(buffer).unwrap()),
        client: Client { username: "app".to_owned(), hostname: "cluster".to_owned() },
        zone: TimeZone::UTC,
    }
}

fn store(options: &Options) -> SharedStore {
    s3::open(options).unwrap()
}

#[test]
fn minio_keeps_the_promises() {
    let Some(minio) = Minio::find() else { return };
    let options = minio.options(&minio.prefix("promises"));
    block_on(async {
        keeps_the_promises(&*store(&options)).await;
        let large = Bytes::from(noise(8, 50 << 20));
        store(&options).put("p9", large.clone()).await.unwrap();
        assert_eq!(store(&options).get("p9", None).await.unwrap(), large, "sent in parts");
    });
}

#[test]
fn minio_says_what_is_wrong() {
    let Some(minio) = Minio::find() else { return };
    let options = minio.options(&minio.prefix("wrong"));
    let check = |options: Options, kind: ErrorKind, words: &str| {
        let error = block_on(store(&options).get("kopia.repository", None)).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.detail.contains(words), "{error}");
    };
    check(options.clone(), ErrorKind::NotFound, "NoSuchKey");
    check(
        Options { bucket: "absent".to_owned(), ..options.clone() },
        ErrorKind::Misconfigured,
        "NoSuchBucket",
    );
    check(
        Options { secret_key: "wrong".to_owned(), ..options.clone() },
        ErrorKind::Denied,
        "SignatureDoesNotMatch",
    );
    check(
        Options { access_key: "nobody".to_owned(), ..options.clone() },
        ErrorKind::Denied,
        "InvalidAccessKeyId",
    );
    let impatient = Patience { retries: 1, ..options.patience };
    check(
        Options { disable_tls: false, patience: impatient, ..options },
        ErrorKind::Misconfigured,
        "KOPIA_S3_DISABLE_TLS",
    );
}

struct Kopia {
    binary: PathBuf,
    home: tempfile::TempDir,
}

impl Kopia {
    fn run(&self, arguments: &[&str]) -> String {
        let home = self.home.path();
        let output = Command::new(&self.binary)
            .arg(format!("--config-file={}", home.join("config").display()))
            .args(["--no-progress", "--no-use-keyring"])
            .args(arguments)
            .env_clear()
            .env("KOPIA_PASSWORD", PASSWORD)
            .env("HOME", home)
            .env("TZ", "UTC")
            .env("KOPIA_CACHE_DIRECTORY", home.join("cache"))
            .env("KOPIA_LOG_DIR", home.join("logs"))
            .env("KOPIA_CHECK_FOR_UPDATES", "false")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "kopia {arguments:?}: {}\n{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }
    /// A machine that never saw the repository: empty cache, own settings.
    fn connected(binary: &FilePath, options: &Options) -> Self {
        let kopia = Self { binary: binary.to_owned(), home: tempfile::tempdir().unwrap() };
        kopia.run(&[
            "repository",
            "connect",
            "s3",
            &format!("--bucket={}", options.bucket),
            &format!("--prefix={}", options.prefix),
            &format!("--endpoint={}", options.endpoint),
            &format!("--access-key={KEY}"),
            &format!("--secret-access-key={KEY}"),
            "--disable-tls",
            "--override-username=app",
            "--override-hostname=cluster",
        ]);
        kopia
    }
}

#[test]
fn kopia_and_engine_take_turns_on_minio() {
    let Some(minio) = Minio::find() else { return };
    let Some(binary) = on_path("kopia") else { return missing("kopia", "no kopia on PATH") };
    let options = minio.options(&minio.prefix("turns"));
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    fs::create_dir(&data).unwrap();
    fill(&data, 22, 40);
    fs::write(data.join("large"), noise(4, 30_000_000)).unwrap();
    let source = Source::new("app", "cluster", data.to_str().unwrap());
    let open = || block_on(Repository::open(store(&options), PASSWORD, context())).unwrap();

    // We write, Kopia opens, verifies and restores.
    let create = Repository::create(store(&options), PASSWORD, CreateOptions::default(), context());
    let repository = block_on(create).unwrap();
    let how = BackupOptions { compression: Some("zstd-fastest".to_owned()), ..BackupOptions::default() };
    let tree = LocalTree::open(&data).unwrap();
    let backup = block_on(repository.backup(&source, &tree, &how, &Silent)).unwrap();
    assert_eq!(backup.errors, []);
    let kopia = Kopia::connected(&binary, &options);
    kopia.run(&["snapshot", "verify", "--verify-files-percent=100"]);
    kopia.run(&["content", "verify", "--full"]);
    let restored = work.path().join("restored");
    kopia.run(&["snapshot", "restore", backup.snapshot.id.as_str(), restored.to_str().unwrap()]);
    let is_time_only = |text: &String| text.contains("directory mode") || text.contains("mode 120777");
    let differences = compare(&data, &restored);
    assert!(differences.iter().all(is_time_only), "{differences:?}");

    // Kopia writes, we restore and verify; each reuses what the other stored.
    fs::write(data.join("new"), b"from kopia's turn").unwrap();
    kopia.run(&["snapshot", "create", data.to_str().unwrap()]);
    let snapshots = block_on(open().snapshots(&Filter::source(&source))).unwrap();
    assert_eq!(snapshots.len(), 2);
    assert_eq!(snapshots[1].stats.files_hashed, 1, "kopia reused every file of ours");
    let into = work.path().join("into");
    fs::create_dir(&into).unwrap();
    let to = LocalTree::open(&into).unwrap();
    block_on(open().restore(&snapshots[1], &Path::root(), &to, &RestoreOptions::default(), &Silent)).unwrap();
    assert_eq!(compare(&data, &into), Vec::<String>::new());
    assert!(block_on(open().verify(&VerifyOptions::default(), &Silent)).unwrap().is_whole());
    let backup = block_on(open().backup(&source, &tree, &how, &Silent)).unwrap();
    assert_eq!(backup.snapshot.stats.files_hashed, 0, "we reused every file of kopia's");
    // A machine with an empty cache sees it all.
    let elsewhere = Kopia::connected(&binary, &options);
    elsewhere.run(&["snapshot", "verify", "--verify-files-percent=100"]);
}
