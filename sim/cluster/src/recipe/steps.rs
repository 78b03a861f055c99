//! How a step of a recipe is run: cached by key, one program at a time, its output in a log, its progress told.
//!
//! A step makes its result beside its place and moves it there when it is complete, and writes the key last; so what
//! bears the right key is whole, whenever a build was killed.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{process::Command, time::Instant};

use super::{FILES, KUBERNETES};
use crate::{
    Error,
    progress::{Monitor, News},
    wait::{Look, wait},
};

/// How often a long step says that it still runs.
const PULSE: Duration = Duration::from_secs(15);

/// How long a build waits for another one: a build from nothing takes a quarter of an hour.
const ANOTHER_BUILD: Duration = Duration::from_secs(2 * 3600);

/// A place to build in, held by one build at a time.
#[derive(Debug)]
pub(crate) struct Kitchen {
    root: PathBuf,
    monitor: Monitor,
    of: usize,
    n: AtomicUsize,
    _lock: fs::File,
}

/// A program to be built from a module of the recipe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Go {
    pub program: &'static str,
    pub module: &'static str,
    pub package: &'static str,
    pub tags: &'static str,
    /// Whether Kubernetes' version is linked in; kubeadm refuses to work without.
    pub kubernetes: bool,
}

impl Go {
    pub fn key(&self) -> String {
        let mut sha = Sha256::new();
        for file in ["go.mod", "go.sum"] {
            let file = FILES.get_file(format!("go/{}/{file}", self.module));
            sha.update(file.expect("the recipe holds its modules").contents());
        }
        sha.update(self.flags().join(" "));
        hex::encode(&sha.finalize()[..8])
    }

    fn flags(&self) -> Vec<String> {
        let mut link = "-s -w".to_owned();
        if self.kubernetes {
            let minor = KUBERNETES.split('.').nth(1).unwrap_or_default();
            for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
                link += &format!(
                    " -X {package}.gitMajor=1 -X {package}.gitMinor={minor} -X {package}.gitVersion={KUBERNETES} \
                     -X {package}.gitTreeState=clean -X {package}.gitCommit={:040} -X {package}.buildDate=2026-01-01T00:00:00Z",
                    0
                );
            }
        }
        let mut flags = vec!["build".to_owned(), "-trimpath".to_owned(), "-ldflags".to_owned(), link];
        if !self.tags.is_empty() {
            flags.push(format!("-tags={}", self.tags));
        }
        flags.push(self.package.to_owned());
        flags
    }
}

impl Kitchen {
    /// Waits for another build to end, and spreads the recipe's files.
    pub async fn open(root: PathBuf, of: usize, monitor: Monitor) -> Result<Self, Error> {
        fs::create_dir_all(&root).map_err(Error::file("make", &root))?;
        let path = root.join("lock");
        let lock = fs::File::create(&path).map_err(Error::file("make", &path))?;
        if lock.try_lock().is_err() {
            monitor.tell("another build to end", 0, 0, News::Begun);
            wait("another build to end", ANOTHER_BUILD, || async {
                Ok(match lock.try_lock() {
                    Ok(()) => Look::Reached(()),
                    Err(error) => Look::NotYet(error.to_string()),
                })
            })
            .await?;
        }
        for directory in ["out", "log"] {
            let directory = root.join(directory);
            fs::create_dir_all(&directory).map_err(Error::file("make", &directory))?;
        }
        let recipe = root.join("recipe");
        if recipe.exists() {
            fs::remove_dir_all(&recipe).map_err(Error::file("remove", &recipe))?;
        }
        fs::create_dir_all(&recipe)
            .and_then(|()| FILES.extract(&recipe))
            .map_err(Error::file("write", &recipe))?;
        Ok(Self { root, monitor, of, n: AtomicUsize::new(0), _lock: lock })
    }

    /// A path below the kitchen.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A file of the recipe.
    pub fn recipe(&self, name: &str) -> PathBuf {
        self.root.join("recipe").join(name)
    }

    /// Where a program that was built lies.
    pub fn out(&self, program: &str) -> PathBuf {
        self.root.join("out").join(program)
    }

    /// Makes a result unless it is there with the same key. `make` gets the place to make it in.
    pub async fn step<F>(
        &self,
        what: &str,
        key: &str,
        result: &Path,
        make: impl FnOnce(PathBuf) -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let n = self.n.fetch_add(1, Ordering::Relaxed) + 1;
        if is_made(result, key) {
            self.monitor.tell(what, n, self.of, News::Cached);
            return Ok(());
        }
        self.monitor.tell(what, n, self.of, News::Begun);
        let begun = Instant::now();
        let partial = beside(result, "partial");
        for old in [&partial, &beside(result, "key"), &result.to_owned()] {
            remove(old)?;
        }
        make(partial.clone()).await?;
        if partial.exists() {
            fs::rename(&partial, result).map_err(Error::file("move into place", result))?;
        }
        let mark = beside(result, "key");
        fs::write(&mark, key).map_err(Error::file("write", &mark))?;
        self.monitor.tell(what, n, self.of, News::Done(begun.elapsed()));
        Ok(())
    }

    /// Builds a Go program into `out/`.
    pub async fn go(&self, go: &Go) -> Result<(), Error> {
        let (result, what) = (self.out(go.program), format!("build {}", go.program));
        self.step(&what, &go.key(), &result, async |partial| {
            let mut command = Command::new("go");
            command
                .args(go.flags().split_last().map(|(_, flags)| flags.to_vec()).unwrap_or_default())
                .arg("-o")
                .arg(&partial)
                .arg(go.package)
                .current_dir(self.recipe("go").join(go.module))
                .env("CGO_ENABLED", "0")
                .env("GOWORK", "off")
                .env("GOFLAGS", "-mod=readonly");
            self.run(&what, command).await
        })
        .await
    }

    /// Runs a program as a step of its own that decides itself what there is to do.
    pub async fn always(&self, what: &str, command: Command) -> Result<(), Error> {
        let n = self.n.fetch_add(1, Ordering::Relaxed) + 1;
        self.monitor.tell(what, n, self.of, News::Begun);
        let begun = Instant::now();
        self.run(what, command).await?;
        self.monitor.tell(what, n, self.of, News::Done(begun.elapsed()));
        Ok(())
    }

    /// Runs a script of the recipe.
    pub async fn script(&self, what: &str, name: &str, arguments: &[&Path]) -> Result<(), Error> {
        let mut command = Command::new("bash");
        command.arg(self.recipe(name)).args(arguments);
        self.run(what, command).await
    }

    /// Runs a program to its end, with its output in a log; says every while that it still runs.
    pub async fn run(&self, what: &str, mut command: Command) -> Result<(), Error> {
        let name: String = what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let log = self.root.join("log").join(name + ".log");
        let file = fs::File::create(&log).map_err(Error::file("make", &log))?;
        let twin = file.try_clone().map_err(Error::file("make", &log))?;
        command.stdin(Stdio::null()).stdout(file).stderr(twin).kill_on_drop(true);
        let begun = Instant::now();
        let mut child =
            command.spawn().map_err(Error::file("start a program, whose output would go to", &log))?;
        loop {
            match tokio::time::timeout(PULSE, child.wait()).await {
                Err(_) => {
                    let news = News::Running(begun.elapsed(), last_line(&log));
                    self.monitor.tell(what, self.n.load(Ordering::Relaxed), self.of, news);
                }
                Ok(Ok(status)) if status.success() => return Ok(()),
                Ok(Ok(status)) => {
                    let detail = format!("{status}, {}", last_line(&log));
                    return Err(Error::Step { step: what.to_owned(), detail, log });
                }
                Ok(Err(source)) => {
                    return Err(Error::File { doing: "wait for a program with the log", path: log, source });
                }
            }
        }
    }
}

/// Says whether a result is there and was made from what the key stands for.
pub(super) fn is_made(result: &Path, key: &str) -> bool {
    result.exists() && fs::read_to_string(beside(result, "key")).is_ok_and(|made| made == key)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}

/// Removes a file or a tree; mounts inside a tree go first, so that nothing beyond it is touched.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    let Ok(seen) = fs::symlink_metadata(path) else { return Ok(()) };
    let removed = if seen.is_dir() {
        release_mounts(path);
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.map_err(Error::file("remove", path))
}

/// Unmounts what a killed debootstrap left mounted below a directory, deepest first.
pub(super) fn release_mounts(root: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut places: Vec<_> = table.lines().filter_map(|line| line.split_whitespace().nth(4)).collect();
    places.retain(|place| Path::new(place).starts_with(root) && Path::new(place) != root);
    for place in places.iter().rev() {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(place).status(); // removal would say what stays
    }
}

/// The last line of a log that says something.
fn last_line(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned()
}

/// Where a program lies on PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places = std::env::split_paths(&path).map(|place| place.join(program));
    places.into_iter().find(|place| {
        fs::metadata(place).is_ok_and(|seen| seen.is_file() && seen.permissions().mode() & 0o111 != 0)
    })
}

/// Sees that a program is installed.
pub(crate) fn require(program: &'static str, what: &'static str, cure: &'static str) -> Result<(), Error> {
    on_path(program).map(drop).ok_or(Error::Tool { program, what, cure })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn kitchen(place: &Path) -> Kitchen {
        Kitchen::open(place.to_owned(), 1, Monitor::silent()).await.unwrap()
    }

    #[tokio::test]
    async fn a_result_is_made_once_per_key() {
        let place = tempfile::tempdir().unwrap();
        let kitchen = kitchen(place.path()).await;
        let result = place.path().join("out/cake");
        let made = AtomicUsize::new(0);
        for key in ["flour", "flour", "sugar"] {
            kitchen
                .step("bake", key, &result, async |partial| {
                    made.fetch_add(1, Ordering::Relaxed);
                    fs::write(&partial, key).map_err(Error::file("write", partial))
                })
                .await
                .unwrap();
        }
        assert_eq!(made.load(Ordering::Relaxed), 2);
        assert_eq!(fs::read_to_string(&result).unwrap(), "sugar");
    }

    #[tokio::test]
    async fn what_was_interrupted_is_made_again() {
        let place = tempfile::tempdir().unwrap();
        let kitchen = kitchen(place.path()).await;
        let result = place.path().join("out/cake");
        let broken = kitchen
            .step("bake", "k", &result, async |partial| {
                fs::write(&partial, "half").unwrap();
                Err(Error::Step { step: "bake".to_owned(), detail: "power cut".to_owned(), log: partial })
            })
            .await;
        assert!(broken.is_err());
        assert!(!is_made(&result, "k"));
        let whole =
            async |partial: PathBuf| fs::write(&partial, "whole").map_err(Error::file("write", partial));
        kitchen.step("bake", "k", &result, whole).await.unwrap();
        assert_eq!(fs::read_to_string(&result).unwrap(), "whole");
    }

    #[tokio::test]
    async fn a_failed_program_is_one_sentence_and_a_log() {
        let place = tempfile::tempdir().unwrap();
        let kitchen = kitchen(place.path()).await;
        let mut command = Command::new("sh");
        command.args(["-c", "echo no flour in the house >&2; exit 3"]);
        let error = kitchen.run("bake", command).await.unwrap_err();
        assert!(error.to_string().contains("no flour in the house"), "{error}");
        assert!(fs::read_to_string(place.path().join("log/bake.log")).unwrap().contains("flour"));
    }

    #[tokio::test(start_paused = true)]
    async fn one_builds_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let first = kitchen(place.path()).await;
        let second = Kitchen::open(place.path().to_owned(), 1, Monitor::silent()).await;
        assert!(matches!(second, Err(Error::Deadline { .. })), "{second:?}");
        drop(first);
        kitchen(place.path()).await;
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_its_cure() {
        let error = require("no-such-program", "baking", "buy one").unwrap_err();
        assert_eq!(error.to_string(), "no-such-program is not installed and baking needs it: buy one");
        assert!(error.is_precondition());
        assert!(on_path("sh").is_some());
    }
}
