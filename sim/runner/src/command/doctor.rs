//! `firedrill doctor`: tries each part this machine could use.
//!
//! Tries, not looks up: a `docker` that cannot reach its daemon is no Docker. Needs nothing and changes
//! nothing outside a temporary directory. The embedded bed is the only part that everything rests on; its
//! failure alone makes the exit code non-zero.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use scenario::Verdict;
use testbed::kind::ground::{self, Options};

use crate::{feature, pool::Order};

/// Arguments of `firedrill doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Prints one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// What was tried.
#[derive(Debug, serde::Serialize)]
struct Finding {
    part: &'static str,
    works: bool,
    seen: String,
    used_for: &'static str,
    cure: &'static str,
}

/// Tries everything.
pub fn command(args: &Args) -> anyhow::Result<u8> {
    let findings = [bed(), docker(), kind(), kopia(), restic(), fuse(), kubectl(), kustomize()];
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        for finding in &findings {
            let mark = if finding.works { "works  " } else { "absent " };
            println!("{mark} {:<13} {}", finding.part, finding.seen);
            if !finding.works {
                println!("        {:<13} for {}; {}", "", finding.used_for, finding.cure);
            }
        }
    }
    let sound = findings[0].works;
    if !args.json {
        println!(
            "\n{}",
            if sound {
                "the embedded bed works: run, drill and reproduce need nothing else"
            } else {
                "the embedded bed does not work: nothing can be played"
            }
        );
    }
    Ok(if sound { 0 } else { Verdict::Broken.exit_code() })
}

const PROBE: &str = r#"
Feature: doctor
  Scenario: a backup is taken
    Given a volume "app" holding 3 files and 64 KiB from seed 1
    And a repository "main"
    And a replication source "nightly" for "app" into "main" on tag "one"
    When "nightly" synchronises once more
    Then "nightly" has synchronised once
"#;

#[expect(clippy::disallowed_methods, reason = "tells how long the probe really took")]
fn bed() -> Finding {
    let scenario = feature::read(Path::new("doctor.feature"), PROBE).expect("a test reads it").remove(0);
    let order =
        Order { file: "doctor.feature".into(), scenario, record: None, on: crate::drive::On::Embedded };
    let begins = Instant::now();
    let outcome = super::play::guarded(&order);
    let works = outcome.verdict == Verdict::Passed;
    let seen = if works {
        format!("a volume was backed up on it in {} ms", begins.elapsed().as_millis())
    } else {
        format!("{}: {}", outcome.verdict, outcome.reason)
    };
    Finding {
        part: "embedded bed",
        works,
        seen,
        used_for: "everything",
        cure: "this is a bug: please report the line above",
    }
}

fn docker() -> Finding {
    let tried = output("docker", &["version", "--format", "{{.Server.Version}}"], &[]);
    finding(
        "Docker",
        tried,
        "the kind tier",
        "install Docker (or Podman with its docker command) and start its daemon",
    )
}

fn kind() -> Finding {
    let tried = ground::check(&Options::here()).map_err(|error| error.to_string());
    finding(
        "kind",
        tried.map(|()| "engine, images and sources are there".to_owned()),
        "`firedrill run --bed kind`",
        "what is missing is said above; `firedrill images build` makes the images",
    )
}

fn kopia() -> Finding {
    let tried = tempdir().and_then(|place| {
        let (config, store) = (place.path("repository.config"), place.path("store"));
        std::fs::create_dir(&store).map_err(|error| error.to_string())?;
        let environment = [("KOPIA_PASSWORD", "probe"), ("KOPIA_CHECK_FOR_UPDATES", "false")];
        output(
            "kopia",
            &["--config-file", &config, "repository", "create", "filesystem", "--path", &store],
            &environment,
        )?;
        let version = output("kopia", &["--version"], &environment)?;
        Ok(format!("created a repository; {version}"))
    });
    finding(
        "kopia",
        tried,
        "interop tests and reading repositories by hand",
        "install it from kopia.io (one binary)",
    )
}

fn restic() -> Finding {
    let tried = tempdir().and_then(|place| {
        let store = place.path("store");
        output("restic", &["--no-cache", "-r", &store, "init"], &[("RESTIC_PASSWORD", "probe")])?;
        output("restic", &["version"], &[])
    });
    finding(
        "restic",
        tried,
        "interop tests of the restic format (later)",
        "install it from restic.net or your distribution",
    )
}

fn fuse() -> Finding {
    let opened = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let tried = match opened {
        Err(error) => Err(format!("/dev/fuse cannot be opened: {error}")),
        Ok(_) => {
            output("fusermount3", &["--version"], &[]).or_else(|_| output("fusermount", &["--version"], &[]))
        }
    };
    finding("FUSE", tried, "fault volumes beside a real cluster", "load the fuse module and install fuse3")
}

fn kubectl() -> Finding {
    let tried = output("kubectl", &["version", "--client"], &[]);
    finding("kubectl", tried, "working on `firedrill serve`", "install it from kubernetes.io")
}

fn kustomize() -> Finding {
    let tried = tempdir().and_then(|place| {
        let folder = place.path("");
        std::fs::write(
            place.path("kustomization.yaml"),
            "configMapGenerator:\n- name: probe\n  literals: [a=b]\n",
        )
        .map_err(|error| error.to_string())?;
        let built = output("kustomize", &["build", &folder], &[])?;
        if built.contains("ConfigMap") || built.contains("apiVersion") {
            output("kustomize", &["version"], &[])
        } else {
            Err(built)
        }
    });
    finding(
        "kustomize",
        tried,
        "raw Flux trees in `firedrill drill`",
        "install it from kustomize.io, or pipe rendered manifests into `firedrill drill -`",
    )
}

fn finding(
    part: &'static str,
    tried: Result<String, String>,
    used_for: &'static str,
    cure: &'static str,
) -> Finding {
    let works = tried.is_ok();
    let seen = tried.unwrap_or_else(|reason| reason);
    Finding { part, works, seen, used_for, cure }
}

/// Runs a program to its end, with a limit, and gives the first line that it said.
#[expect(
    clippy::disallowed_methods,
    reason = "a foreign program is given a real limit; the operating system has no wait with a deadline"
)]
fn output(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program} does not start: {error}"))?;
    let begins = Instant::now();
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if begins.elapsed() > Duration::from_secs(20) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{program} {} did not end within 20 s", arguments.join(" ")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let first = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    if output.status.success() {
        Ok(first(&output.stdout))
    } else {
        Err(format!("{program} failed: {}", first(&output.stderr)))
    }
}

struct Place(std::path::PathBuf);

impl Place {
    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tempdir() -> Result<Place, String> {
    let place = std::env::temp_dir().join(format!(
        "firedrill-doctor-{}-{}",
        std::process::id(),
        PLACES.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    ));
    std::fs::create_dir(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    Ok(Place(place))
}

static PLACES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_is_a_scenario() {
        assert_eq!(feature::read(Path::new("doctor.feature"), PROBE).unwrap().len(), 1);
    }

    #[test]
    fn a_program_that_fails_or_is_absent_does_not_work() {
        assert!(output("firedrill-no-such-program", &[], &[]).unwrap_err().contains("does not start"));
        assert!(output("false", &[], &[]).unwrap_err().contains("failed"));
        assert_eq!(output("echo", &["x"], &[]), Ok("x".to_owned()));
    }
}
