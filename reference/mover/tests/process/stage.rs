//! A temporary place with a data volume, a repository folder and a restore target.
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use contract::Outcome;
use tempfile::TempDir;

/// The binary under test.
pub const MOVER: &str = env!("CARGO_BIN_EXE_mover");
/// The password of every repository here.
pub const PASSWORD: &str = "correct horse battery staple";

/// A temporary place.
pub struct Stage {
    folder: TempDir,
}

/// One mover process, not yet started.
pub struct Job {
    arguments: Vec<String>,
    variables: BTreeMap<String, String>,
    folder: PathBuf,
}

/// How a mover process ended.
pub struct Ended {
    pub code: Option<i32>,
    pub outcome: Outcome,
    pub log: String,
}

impl Stage {
    pub fn new() -> Self {
        let stage = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        for name in ["data", "repository", "restored"] {
            fs::create_dir(stage.folder.path().join(name)).expect("a folder");
        }
        stage
    }
    /// A stage whose data volume holds a small tree.
    pub fn filled() -> Self {
        let stage = Self::new();
        fill(&stage.data());
        stage
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }
    pub fn repository(&self) -> PathBuf {
        self.path("repository")
    }
    pub fn restored(&self) -> PathBuf {
        self.path("restored")
    }
    fn job(&self, argument: Option<&str>, data: &Path) -> Job {
        let mut variables = BTreeMap::new();
        for (name, value) in [
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("KOPIA_PASSWORD", PASSWORD.to_owned()),
            ("KOPIA_REPOSITORY", format!("filesystem://{}", self.repository().display())),
            ("DATA_DIR", data.display().to_string()),
            ("KOPIA_OVERRIDE_USERNAME", "app".to_owned()),
            ("KOPIA_OVERRIDE_HOSTNAME", "media".to_owned()),
            ("TERMINATION_LOG", self.path("termination").display().to_string()),
        ] {
            variables.insert(name.to_owned(), value);
        }
        Job {
            arguments: argument.map(str::to_owned).into_iter().collect(),
            variables,
            folder: self.folder.path().to_owned(),
        }
    }
    pub fn backup(&self) -> Job {
        self.job(Some("backup"), &self.data())
    }
    pub fn restore(&self) -> Job {
        self.job(Some("restore"), &self.restored())
    }
    pub fn maintenance(&self) -> Job {
        self.job(None, &self.data()).with("DIRECTION", "maintenance")
    }
    /// A backup that must succeed.
    pub fn backed_up(&self) -> Ended {
        let ended = self.backup().run();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        ended
    }
}

impl Job {
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts alike are handed over as they come")]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.insert(name.to_owned(), value.to_string());
        self
    }
    pub fn named(self, username: &str, hostname: &str) -> Self {
        self.with("KOPIA_OVERRIDE_USERNAME", username).with("KOPIA_OVERRIDE_HOSTNAME", hostname)
    }
    /// The command, for those who wrap it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(MOVER);
        command.args(&self.arguments);
        self.dress(command)
    }
    /// The same under a shell that prepares the process (`$@` is the mover with its arguments).
    pub fn under(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash", MOVER]).args(&self.arguments);
        self.dress(command)
    }
    fn dress(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        command
    }
    pub fn start(&self) -> Child {
        self.command().spawn().expect("the mover starts")
    }
    pub fn run(&self) -> Ended {
        self.finish(self.start())
    }
    pub fn finish(&self, child: Child) -> Ended {
        let output = child.wait_with_output().expect("the mover ends");
        let message = fs::read_to_string(self.folder.join("termination")).expect("a termination message");
        let log = String::from_utf8(output.stdout).expect("the log is text");
        assert!(!log.contains(PASSWORD), "the password is in the log:\n{log}");
        let outcome = Outcome::from_termination_message(&message)
            .unwrap_or_else(|| panic!("not an outcome: {message}\n{log}"));
        let code = output.status.code();
        assert_eq!(Some(outcome.exit_code), code, "outcome and process disagree:\n{log}");
        assert!(log.contains(&format!("INFO: EXIT_CODE: {}", outcome.exit_code)), "{log}");
        Ended { code, outcome, log }
    }
}

/// Bytes that no compressor shortens.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}

/// Writes a small tree with what file systems have.
pub fn fill(root: &Path) {
    fs::create_dir_all(root.join("dir/deep")).expect("made");
    fs::write(root.join("hello.txt"), "hello\n").expect("written");
    fs::write(root.join("empty"), "").expect("written");
    fs::write(root.join("dir/noise"), noise(300_000, 7)).expect("written");
    fs::write(root.join("dir/deep/zeros"), vec![0_u8; 200_000]).expect("written");
    fs::write(root.join("name with ü and \n"), "odd").expect("written");
    fs::set_permissions(root.join("hello.txt"), fs::Permissions::from_mode(0o640)).expect("set");
    symlink("../hello.txt", root.join("dir/link")).expect("linked");
    symlink("/nowhere", root.join("dangling")).expect("linked");
}

/// Everything below a folder: path to kind, mode, mtime and bytes or target.
pub fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("listed") {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("described");
            let what = if metadata.is_dir() {
                open.push(path.clone());
                "directory".to_owned()
            } else if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).expect("read").display())
            } else {
                let bytes = fs::read(&path).expect("read");
                let sum =
                    bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
                format!("{} bytes {sum:x}", bytes.len())
            };
            let times = (metadata.mtime(), metadata.mtime_nsec());
            let name = path.strip_prefix(root).expect("below").display().to_string();
            found.insert(name, format!("{what} {:o} {times:?}", metadata.mode() & 0o7777));
        }
    }
    found
}

/// Waits until a file is there; the level is the file's existence, the deadline generous.
pub fn await_file(path: &Path) {
    await_level(&format!("{} to appear", path.display()), || path.exists());
}

/// Waits until something holds, for at most 30 s.
pub fn await_level(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..15_000 {
        if holds() {
            return;
        }
        pause(2);
    }
    panic!("waited 30 s for {what}");
}

/// Lets another process go on for a moment.
#[expect(clippy::disallowed_methods, reason = "the other side is a real process on a real clock")]
pub fn pause(milliseconds: u64) {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
}
