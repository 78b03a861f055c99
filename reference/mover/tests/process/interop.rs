//! A real `kopia`, where one is on PATH, as the judge of what the mover wrote, and as a writer for it.
use std::{collections::BTreeMap, fs, path::Path, process::Command};

use contract::Ending;

use crate::stage::{PASSWORD, Stage, listing};

struct Kopia<'a>(&'a Stage);

impl<'a> Kopia<'a> {
    /// None, with the reason printed, when there is no kopia.
    fn find(stage: &'a Stage) -> Option<Self> {
        let is_there =
            Command::new("kopia").arg("--version").output().is_ok_and(|output| output.status.success());
        if !is_there {
            println!("skipped: no kopia on PATH");
        }
        is_there.then_some(Self(stage))
    }
    fn run(&self, arguments: &[&str]) -> String {
        let config = format!("--config-file={}", self.0.path("kopia.config").display());
        let output = Command::new("kopia")
            .args(arguments)
            .args([&config, "--log-dir", &self.0.path("logs").display().to_string()])
            .env("KOPIA_PASSWORD", PASSWORD)
            .env("KOPIA_CHECK_FOR_UPDATES", "false")
            .env("HOME", self.0.path("home"))
            .env("KOPIA_CACHE_DIRECTORY", self.0.path("cache"))
            .output()
            .expect("kopia runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kopia {arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("text")
    }
    fn repository(&self, verb: &str) {
        let path = self.0.repository().display().to_string();
        self.run(&[
            "repository",
            verb,
            "filesystem",
            "--path",
            &path,
            "--override-username=app",
            "--override-hostname=media",
        ]);
    }
}

#[test]
fn kopia_lists_verifies_and_restores_what_the_mover_wrote() {
    let stage = Stage::filled();
    let Some(kopia) = Kopia::find(&stage) else { return };
    let ended = stage
        .backup()
        .with("KOPIA_COMPRESSION", "zstd-fastest")
        .with("KOPIA_RETAIN_DAILY", 3)
        .with("KOPIA_SYNC", "uid/2026-01-01T03:00:00Z")
        .run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let id = ended.outcome.snapshot.expect("a snapshot").id;
    kopia.repository("connect");
    let listed: serde_json::Value =
        serde_json::from_str(&kopia.run(&["snapshot", "list", "--all", "--json"])).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    let tag = ["snapshot", "list", "--all", "--json", "--tags=firedrill-sync:uid/2026-01-01T03:00:00Z"];
    assert!(kopia.run(&tag).contains(&id), "kopia finds the snapshot by its sync");
    assert_eq!(
        (listed[0]["id"].as_str(), listed[0]["source"]["path"].as_str()),
        (Some(id.as_str()), Some("/data"))
    );
    kopia.run(&["snapshot", "verify", "--verify-files-percent=100"]);
    kopia.run(&["snapshot", "restore", &id, &stage.restored().display().to_string()]);
    // Kopia itself gives directories the newest time below and symlinks only microseconds.
    assert_eq!(without_times(&stage.restored()), without_times(&stage.data()));
    let policy: serde_json::Value =
        serde_json::from_str(&kopia.run(&["policy", "show", "app@media:/data", "--json"])).expect("JSON");
    assert_eq!(policy["retention"]["keepDaily"], 3);
    assert_eq!(policy["compression"]["compressorName"], "zstd-fastest");
    let maintenance: serde_json::Value =
        serde_json::from_str(&kopia.run(&["maintenance", "info", "--json"])).expect("JSON");
    assert_eq!(maintenance["owner"], mover::MAINTENANCE_OWNER);
}

#[test]
fn the_mover_restores_and_continues_what_kopia_wrote() {
    let stage = Stage::filled();
    let Some(kopia) = Kopia::find(&stage) else { return };
    kopia.repository("create");
    kopia.run(&["snapshot", "create", &stage.data().display().to_string(), "--override-source=/data"]);
    let ended = stage.restore().run();
    assert_eq!((ended.code, &ended.outcome.ending), (Some(0), &Ending::Restored), "{}", ended.log);
    assert_eq!(listing(&stage.restored()), listing(&stage.data()));
    fs::write(stage.data().join("next"), "day").expect("written");
    stage.backed_up();
    let listed: serde_json::Value =
        serde_json::from_str(&kopia.run(&["snapshot", "list", "--all", "--json"])).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    kopia.run(&["snapshot", "verify", "--verify-files-percent=100"]);
    let _ = fs::remove_dir_all(stage.path("cache"));
}

fn without_times(root: &Path) -> BTreeMap<String, String> {
    let cut = |what: String| what.split(" (").next().unwrap_or_default().to_owned();
    listing(root).into_iter().map(|(name, what)| (name, cut(what))).collect()
}
