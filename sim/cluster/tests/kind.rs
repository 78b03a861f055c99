//! The fixtures on a real engine, with the locally built images.
//!
//! Each test is skipped with a printed reason where the machine lacks something, unless `FIREDRILL_REQUIRE` names
//! `kind`. Each has a run of its own, and they go one after another: every run sweeps when it begins, and would
//! take from another test what that test wants to see swept.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
    time::Duration,
};

use cluster::{
    Command, Error, KindCluster, MINIO_IMAGE, Minio, NETBASE_IMAGE, NODE_IMAGE, Run, RunOptions, Sibling,
    chain, engine,
    image::{self, File, Scratch},
    mark,
    sweep::{self, Swept, Which},
};

static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A run, and the guard that keeps the other tests waiting.
struct Begun {
    run: Run,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

impl std::ops::Deref for Begun {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.run
    }
}

/// A run, or none with the reason printed.
async fn begin(images: &[&str]) -> Option<Begun> {
    let alone = ALONE.lock().await;
    let begun = async {
        let run = Run::start(RunOptions::default()).await?;
        for name in images {
            if run.docker().inspect_image(name).await.is_err() {
                let cure = "build it with `firedrill images build`".to_owned();
                return Err(Error::ImageMissing { name: (*name).to_owned(), cure });
            }
        }
        Ok(run)
    };
    match begun.await {
        Ok(run) => Some(Begun { run, _alone: alone }),
        Err(error) if error.is_precondition() => {
            let required = std::env::var("FIREDRILL_REQUIRE").unwrap_or_default();
            assert!(
                !required.split([',', ' ']).any(|part| part == "kind"),
                "FIREDRILL_REQUIRE asks for kind: {}",
                chain(&error)
            );
            println!("skipped: {}", chain(&error));
            None
        }
        Err(error) => panic!("{}", chain(&error)),
    }
}

/// Everything at the engine that bears a run's id.
fn left(run: &str) -> Vec<String> {
    let output = |words: &[&str]| {
        let label = format!("label={}={run}", mark::RUN);
        let output =
            std::process::Command::new("docker").args(words).args(["--quiet", "--filter", &label]).output();
        String::from_utf8(output.expect("the docker client runs").stdout).unwrap()
    };
    [vec!["ps", "--all"], vec!["network", "ls"], vec!["volume", "ls"]]
        .iter()
        .flat_map(|words| output(words).lines().map(|line| format!("{words:?} {line}")).collect::<Vec<_>>())
        .collect()
}

fn finished(result: Result<Swept, Error>) -> Swept {
    result.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sibling_can_be_stopped_paused_and_cut_off() {
    let Some(run) = begin(&[NETBASE_IMAGE]).await else { return };
    let start = |name: &'static str, script: &'static str| {
        Sibling::builder(&run, name, NETBASE_IMAGE).arguments(["-c", script]).start()
    };
    let server = start("server", "exec sleep infinity").await.unwrap();
    let client = start("client", "exec sleep infinity").await.unwrap();
    let echoed = client.exec_ok(Command::new(["cat"]).input("through standard input")).await.unwrap();
    assert_eq!(echoed.text(), "through standard input");
    assert_eq!(client.exec(Command::script("exit 7")).await.unwrap().code, 7);
    let error = client.exec_ok(Command::script("echo lost >&2; exit 3")).await.unwrap_err();
    assert!(error.to_string().contains("ended with 3: lost"), "{error}");

    client.write("/etc/note", b"kept", 0o640).await.unwrap();
    assert_eq!(client.read("/etc/note").await.unwrap(), b"kept");
    assert_eq!(client.exec_ok(Command::script("stat -c %a /etc/note")).await.unwrap().text().trim(), "640");

    let address = server.address().await.unwrap().expect("it has an address");
    server.disconnect().await.unwrap();
    assert_eq!(server.address().await.unwrap(), None);
    server.connect().await.unwrap();
    assert_eq!(server.address().await.unwrap(), Some(address));
    server.pause().await.unwrap();
    let frozen = tokio::time::timeout(Duration::from_secs(2), server.exec(Command::script("true"))).await;
    assert!(!matches!(frozen, Ok(Ok(_))), "a paused container answers nothing");
    server.unpause().await.unwrap();
    server.stop().await.unwrap();
    assert!(!server.is_running().await.unwrap());
    server.start().await.unwrap();
    assert!(server.is_running().await.unwrap());
    drop((server, client));
    assert_eq!(left(run.id()).len(), 1, "handles took their containers; the network is the run's");
    finished(run.finish().await);
    assert_eq!(left(run.id()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_port_twice_is_one_sentence() {
    let Some(run) = begin(&[NETBASE_IMAGE]).await else { return };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let builder =
        Sibling::builder(&run, "late", NETBASE_IMAGE).arguments(["-c", "sleep 60"]).port_at(80, port);
    let error = builder.start().await.unwrap_err();
    assert!(matches!(error, Error::PortTaken { port: named } if named == port), "{}", chain(&error));
    let missing = Sibling::builder(&run, "none", "kind.local/no-such:1").start().await.unwrap_err();
    assert!(missing.is_precondition() && missing.to_string().contains("firedrill images build"), "{missing}");
    finished(run.finish().await);
    assert_eq!(left(run.id()), Vec::<String>::new(), "a container that did not start is not left either");
}

#[tokio::test(flavor = "multi_thread")]
async fn minio_serves_plainly_and_behind_its_own_authority() {
    let Some(run) = begin(&[NETBASE_IMAGE, MINIO_IMAGE]).await else { return };
    let plain = Minio::builder(&run, "minio").bucket("one").start();
    let tls = Minio::builder(&run, "vault").bucket("two").tls().start();
    let (plain, tls) =
        futures::future::try_join(plain, tls).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(plain.endpoint(), "http://minio:9000");
    assert_eq!(tls.endpoint(), "https://vault:9000");
    assert_eq!(plain.authority_pem(), None);
    assert!(tls.authority_pem().unwrap().contains("BEGIN CERTIFICATE"));
    for (minio, trust) in [(&plain, None), (&tls, tls.authority_pem())] {
        let place = tempfile::tempdir().unwrap();
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"]);
        if let Some(pem) = trust {
            let file = place.path().join("ca.pem");
            std::fs::write(&file, pem).unwrap();
            curl.arg("--cacert").arg(file);
        }
        let url = format!("{}/minio/health/ready", minio.endpoint_here().await.unwrap());
        let answer = curl.arg(&url).output().expect("curl runs");
        assert_eq!(String::from_utf8_lossy(&answer.stdout), "200", "{url}: {answer:?}");
    }
    finished(run.finish().await);
}

/// Makes an image of one static program, loads it into a node, and lets a pod of it resolve a sibling's name.
async fn a_pod_of_our_own_image_resolves(kind: &KindCluster) {
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("probe.tar");
    let busybox = place.path().join("busybox");
    let bytes = kind.control_plane().read("/usr/bin/busybox").await.unwrap();
    std::fs::write(&busybox, bytes).unwrap();
    let scratch = Scratch {
        name: "kind.local/probe:1".to_owned(),
        files: vec![File::program("/busybox", &busybox)],
        entrypoint: vec!["/busybox".to_owned()],
        user: "65532:65532".to_owned(),
        ..Scratch::default()
    };
    image::from_scratch(&scratch, &archive).unwrap();
    kind.load_image(&archive).await.unwrap();
    kind.apply(
        r#"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "probe", "namespace": "default"},
            "spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [
              {"name": "c", "image": "kind.local/probe:1", "args": ["sh", "-c",
               "/busybox wget -q -O - http://minio:9000/minio/health/ready && /busybox wget -q -O - http://kube-dns.kube-system:9153/metrics | /busybox head -n 1"]}]}}}}"#,
    )
    .await
    .unwrap();
    let done = kind.wait_for("the probe to end", Duration::from_secs(60), &["job", "probe"], |job| {
        let count = |name: &str| job["status"][name].as_i64().unwrap_or(0);
        if count("succeeded") + count("failed") > 0 { Ok(()) } else { Err(job["status"].to_string()) }
    });
    let job = done.await.unwrap();
    let log = kind.kubectl_ok(["logs", "job/probe"], None).await.unwrap();
    assert_eq!(job["status"]["succeeded"], 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_lives_through_its_life() {
    let Some(run) = begin(&[NODE_IMAGE, MINIO_IMAGE]).await else { return };
    let minio = Minio::builder(&run, "minio").start().await.unwrap();
    let mut kind = KindCluster::builder(&run, "life")
        .label("test", "life")
        .create()
        .await
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    println!("{:?}", kind.times());
    assert!(kind.times().total < Duration::from_secs(90), "{:?}", kind.times());
    assert_eq!(kind.version(), "v1.34.10");
    assert_eq!(
        kind.get(["crd", "volumesnapshots.snapshot.storage.k8s.io"]).await.unwrap()["spec"]["scope"],
        "Namespaced"
    );
    a_pod_of_our_own_image_resolves(&kind).await;

    let before = kind.kubeconfig().to_owned();
    let worker = kind.add_worker().await.unwrap();
    let nodes = kind.get(["nodes"]).await.unwrap();
    assert_eq!(nodes["items"].as_array().unwrap().len(), 2);
    let control_plane = kind.control_plane().name().to_owned();
    kind.restart(&control_plane).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_ne!(kind.kubeconfig(), before, "the published port is another one");
    assert_eq!(std::fs::read_to_string(kind.kubeconfig_path()).unwrap(), kind.kubeconfig());
    kind.restart(&worker).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert!(kind.node("no-such").unwrap_err().to_string().contains(&worker));

    let path = kind.kubeconfig_path().to_owned();
    kind.delete().await.unwrap();
    assert!(!path.exists());
    minio.delete().await.unwrap();
    finished(run.finish().await);
    assert_eq!(left(run.id()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_run_left_is_swept_and_a_living_one_is_not() {
    let Some(living) = begin(&[NETBASE_IMAGE]).await else { return };
    let sibling = Sibling::builder(&living, "alive", NETBASE_IMAGE)
        .arguments(["-c", "exec sleep infinity"])
        .volume("/data");
    let sibling = sibling.start().await.unwrap();

    // A process that is gone: its id and start time are real, and it has ended.
    let mut child = std::process::Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let started = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
    let own = mark::Owner::this_process().label();
    let place = own.splitn(3, '/').nth(2).unwrap();
    let owner = format!("{}/{started}/{place}", child.id());
    let make = |name: &str, owner: &str| {
        let labels = BTreeMap::from([(mark::RUN, "deadrun"), (mark::OWNER, owner)]);
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("--label={name}={value}")).collect();
        let run = |words: &[&str]| {
            let made =
                std::process::Command::new("docker").args(words).args(&labels).arg(name).output().unwrap();
            assert!(made.status.success(), "{words:?}: {}", String::from_utf8_lossy(&made.stderr));
        };
        run(&["network", "create"]);
        run(&["volume", "create"]);
        let network = format!("--network={name}");
        let mount = format!("--volume={name}:/data");
        let made = std::process::Command::new("docker")
            .args(["run", "--detach", "--volume=/anonymous", &network, &mount, "--name", name])
            .args(&labels)
            .args([NETBASE_IMAGE, "-c", "exec sleep infinity"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let name = format!("firedrill-dead-{}", std::process::id());
    make(&name, &owner);
    let swept = sweep::sweep(living.docker(), Which::LeftBehind).await.unwrap();
    assert!(!swept.containers.contains(&name), "its owner still lives");
    assert_eq!(left("deadrun").len(), 3);
    child.kill().unwrap();
    child.wait().unwrap();
    let swept = sweep::sweep(living.docker(), Which::LeftBehind).await.unwrap();
    assert!(
        swept.containers.contains(&name) && swept.networks.contains(&name) && swept.volumes.contains(&name),
        "{swept:?}"
    );
    assert_eq!(left("deadrun"), Vec::<String>::new());
    assert!(sibling.is_running().await.unwrap(), "what lives was not touched");
    finished(living.finish().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_live_side_by_side() {
    let Some(run) = begin(&[NODE_IMAGE]).await else { return };
    let small = KindCluster::builder(&run, "small").without_snapshots().create();
    let large = KindCluster::builder(&run, "large").without_snapshots().workers(1).create();
    let both = futures::future::try_join(small, large).await;
    let (small, large) = both.unwrap_or_else(|error| panic!("{}", chain(&error)));
    println!("{:?}, with a worker {:?}", small.times().total, large.times().total);
    for (kind, nodes) in [(&small, 1), (&large, 2)] {
        let list = kind.get(["nodes"]).await.unwrap();
        assert_eq!(list["items"].as_array().unwrap().len(), nodes, "{}", kind.name());
        let config = std::fs::read_to_string(kind.kubeconfig_path()).unwrap();
        assert!(
            config.contains(&format!("https://127.0.0.1:{}", kind.control_plane().port(6443).await.unwrap()))
        );
        assert!(
            kind.kubeconfig_inside()
                .await
                .unwrap()
                .contains(&format!("https://{}:6443", kind.control_plane().name()))
        );
    }
    small
        .apply(r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "only-here"}}"#)
        .await
        .unwrap();
    assert!(large.get(["namespace", "only-here"]).await.unwrap().is_null());
    let deadline = Duration::from_secs(1);
    let error = large
        .wait_for("a namespace of the other", deadline, &["namespace", "only-here"], |seen| {
            if seen.is_null() { Err("there is none".to_owned()) } else { Ok(()) }
        })
        .await
        .unwrap_err();
    let said = "waited 1 s for a namespace of the other, and the last look said: there is none";
    assert_eq!(error.to_string(), said);
    large.delete().await.unwrap();
    assert!(small.get(["namespace", "only-here"]).await.unwrap().is_object(), "the other one still stands");
    finished(run.finish().await);
    assert_eq!(left(run.id()), Vec::<String>::new());
}

/// The loop devices of this machine, each with its file.
fn loops() -> String {
    let listed = std::process::Command::new("losetup").args(["--list", "--noheadings"]).output();
    String::from_utf8(listed.expect("losetup runs").stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_device_goes_with_the_volume_that_holds_its_file() {
    let Some(run) = begin(&[NETBASE_IMAGE]).await else { return };
    let holder = Sibling::builder(&run, "holder", NETBASE_IMAGE)
        .arguments(["-c", "exec sleep infinity"])
        .privileged()
        .volume("/data");
    let holder = holder.start().await.unwrap();
    let name = format!("firedrill-{}.img", run.id());
    let script = format!("truncate -s 8M /data/{name}; losetup --find --show /data/{name}");
    let device = holder.exec_ok(Command::script(script)).await.unwrap().text().trim().to_owned();
    assert!(loops().contains(&name), "{}", loops());
    std::mem::forget(holder); // as a killed process would leave it
    let swept = finished(run.finish().await);
    assert_eq!(swept.loops, [device]);
    assert!(!loops().contains(&name), "{}", loops());
}

/// Kills the example while it makes a cluster, at several points, and lets the next run sweep.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_run_that_was_killed_at_any_point() {
    let Some(run) = begin(&[NODE_IMAGE, MINIO_IMAGE]).await else { return };
    let program = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/kind");
    assert!(program.exists(), "cargo builds examples with tests: {}", program.display());
    // The engine mounts for everybody's containers; all else that appears would be ours.
    let mounts = || {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let places = table.lines().filter_map(|line| line.split_whitespace().nth(4).map(str::to_owned));
        places.filter(|place| !place.contains("/docker/")).collect::<Vec<_>>()
    };
    let before = mounts();
    for (millis, polite) in [(400, false), (1500, false), (1500, true), (9000, false)] {
        let mut child = std::process::Command::new(&program)
            .arg("up")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A point in time is what this test is about, counted from the run's beginning: a busy machine starts late.
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        out.read_line(&mut said).unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        let signal = if polite { "-INT" } else { "-KILL" };
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
        out.read_to_string(&mut said).unwrap();
        let ended = child.wait().unwrap();
        let id =
            said.strip_prefix("run ").and_then(|rest| rest.split(',').next()).unwrap_or("none").to_owned();
        if polite {
            assert_eq!(ended.code(), Some(130), "{said}");
        } else {
            // The engine may still be making what the dead had asked for: it is swept when it is there.
            let (mut quiet, mut found) = (0, Swept::default());
            while quiet < 20 {
                let swept = finished(sweep::sweep(run.docker(), Which::LeftBehind).await);
                quiet = if swept.is_empty() { quiet + 1 } else { 0 };
                found = if swept.is_empty() { found } else { swept };
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            assert!(!found.is_empty(), "killed after {millis} ms: {said}");
        }
        assert_eq!(left(&id), Vec::<String>::new(), "killed after {millis} ms");
        assert!(!run.directory().with_file_name(&id).exists());
    }
    assert_eq!(mounts(), before);
    finished(run.finish().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_is_described() {
    let Some(run) = begin(&[]).await else { return };
    assert!(run.engine().processors > 0 && run.engine().memory_mib > 0, "{:?}", run.engine());
    let error = engine::check_room(run.engine(), 1_000_000).unwrap_err();
    assert!(error.is_precondition(), "{error}");
    assert!(run.directory().join("owner").exists());
    let directory = run.directory().to_owned();
    finished(run.finish().await);
    assert!(!directory.exists());
    let late = Sibling::builder(&run, "late", NETBASE_IMAGE).start().await.unwrap_err();
    assert!(matches!(late, Error::Ended { .. } | Error::ImageMissing { .. }), "{late}");
}
