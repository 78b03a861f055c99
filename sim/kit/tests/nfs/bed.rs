//! A server and its mounts, as processes on loopback; everything is gone when the test ends.
use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{PoisonError, RwLock, RwLockReadGuard, mpsc},
    thread,
    time::{Duration, Instant},
};

use kit::{
    nfs_control::{Ask, Change, Status},
    socket::ask,
};
use rustix::{
    mount::UnmountFlags,
    process::{Pid, Signal, kill_process},
};
use tempfile::TempDir;

pub const KIT: &str = env!("CARGO_BIN_EXE_kit");

/// Why NFS cannot be mounted here, if it cannot.
pub fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting needs root");
    }
    if !Path::new("/dev/fuse").exists() {
        return Some("there is no /dev/fuse");
    }
    None
}

/// Ends the test early where NFS cannot be mounted; a machine that must be able to fails instead.
#[macro_export]
macro_rules! needs_fuse {
    () => {
        if let Some(reason) = $crate::bed::missing() {
            let required = std::env::var("FIREDRILL_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|part| part == "fuse"), "fuse is required: {reason}");
            println!("skipped: {reason}");
            return;
        }
    };
}

/// Processes begin under the write lock. A new process closes the files that it inherited, and a close takes
/// the error of a lost write with it: who is about to lose one holds the read lock.
static PROCESSES: RwLock<()> = RwLock::new(());

/// While this is held no process begins.
pub fn quiet() -> RwLockReadGuard<'static, ()> {
    PROCESSES.read().unwrap_or_else(PoisonError::into_inner)
}

/// Begins a process and waits for its output.
pub fn output(command: &mut Command) -> Output {
    let child = {
        let _alone = PROCESSES.write().unwrap_or_else(PoisonError::into_inner);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    child.wait_with_output().unwrap()
}

pub struct Server {
    home: TempDir,
    port: u16,
    /// Starts processes for us. Ours would hold the files that tests have open, and wait for a dead server with
    /// them: `exec` closes what it inherited, and a close waits.
    keeper: Child,
    pid: Option<Pid>,
}

impl Server {
    pub fn start() -> Self {
        sweep();
        // Free a moment ago; the server says so if somebody took it.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let home = directory();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", "while read -r line; do eval \"$line\"; done"]);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir(home.path());
        let keeper = {
            let _alone = PROCESSES.write().unwrap_or_else(PoisonError::into_inner);
            keeper.spawn().unwrap()
        };
        let mut server = Self { home, port, keeper, pid: None };
        server.come_back();
        server
    }
    /// The directory that is exported.
    pub fn export(&self) -> PathBuf {
        self.home.path().join("export")
    }
    fn socket(&self) -> PathBuf {
        self.home.path().join("nfs.sock")
    }
    /// Has the keeper do something, and reads the line it prints.
    fn keep(&mut self, command: &str) -> String {
        writeln!(self.keeper.stdin.as_mut().unwrap(), "{command}").unwrap();
        let mut line = Vec::new();
        let stdout = self.keeper.stdout.as_mut().unwrap();
        let mut byte = [0];
        while stdout.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }
    pub fn come_back(&mut self) {
        let command = format!(
            "{KIT} nfs-server export --listen 127.0.0.1:{} --portmapper 127.0.0.1:0 --control nfs.sock \
             --state nfs.json >>server.log 2>&1 </dev/null & echo $!",
            self.port
        );
        let pid = self.keep(&command).parse().unwrap();
        self.pid = Pid::from_raw(pid);
        let socket = self.socket();
        within("the server", || ask::<Status>(&socket, &Ask::Status).ok());
    }
    /// As a power cut does.
    pub fn kill(&mut self) {
        if let Some(pid) = self.pid.take() {
            kill_process(pid, Signal::KILL).unwrap();
            self.keep("wait; echo");
        }
    }
    /// As `docker pause` does, or undoes.
    pub fn pause(&self, is_paused: bool) {
        kill_process(self.pid.unwrap(), if is_paused { Signal::STOP } else { Signal::CONT }).unwrap();
    }
    /// Asks over the control socket.
    pub fn ask(&self, question: Ask) -> Status {
        ask(&self.socket(), &question).unwrap()
    }
    pub fn turn(&self, change: Change) -> Status {
        self.ask(Ask::Turn(change))
    }
    pub fn status(&self) -> Status {
        self.ask(Ask::Status)
    }
    /// Runs `kit nfs-ctl`.
    pub fn ctl(&self, words: &[&str]) -> Output {
        output(Command::new(KIT).arg("nfs-ctl").arg("--control").arg(self.socket()).args(words))
    }
    /// Runs the mount helper.
    pub fn helper(&self, path: &str, directory: &Path, options: &str) -> Output {
        let source = format!("127.0.0.1:{path}");
        let options = format!("rw,{options},port={},retry=0", self.port);
        output(Command::new(KIT).arg("mount.nfs").arg(source).arg(directory).args(["-o", &options]))
    }
    pub fn mount(&self, options: &str) -> Mount {
        self.mount_path("/export", options)
    }
    pub fn mount_path(&self, path: &str, options: &str) -> Mount {
        let directory = directory();
        let output = self.helper(path, directory.path(), options);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Mount(directory)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.take() {
            // A server that is gone already is as good.
            let _ = kill_process(pid, Signal::KILL);
        }
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A directory that tells whose it is, so that what a killed test left can be found.
fn directory() -> TempDir {
    tempfile::Builder::new()
        .prefix(&format!("kit-nfs-{}-", std::process::id()))
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap()
}

/// Unmounts what tests that were killed left behind: it would wait for its servers for ever.
fn sweep() {
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        let path = line.split(' ').nth(4).unwrap_or_default();
        let owner = path.split_once("/kit-nfs-").and_then(|(_, rest)| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            unmount(Path::new(path));
        }
    }
}

/// Frees whoever waits, and takes the mount away. No process is started: it would wait as well.
fn unmount(path: &Path) {
    let _ = rustix::mount::unmount(path, UnmountFlags::FORCE);
    let _ = rustix::mount::unmount(path, UnmountFlags::DETACH);
}

pub struct Mount(TempDir);

impl Mount {
    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub fn path(&self) -> &Path {
        self.0.path()
    }
    /// The daemons that serve this directory.
    pub fn daemons(&self) -> Vec<u32> {
        let mark = self.0.path().to_string_lossy().into_owned();
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| {
                // First the short name, which never waits for anybody.
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                let words = || fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                name == "kit\n" && {
                    let words = String::from_utf8_lossy(&words()).into_owned();
                    words.contains("--serve") && words.contains(&mark)
                }
            })
            .collect()
    }
    pub fn unmount(&self, flags: UnmountFlags) {
        rustix::mount::unmount(self.0.path(), flags).unwrap();
    }
    pub fn is_mounted(&self) -> bool {
        let mark = format!(" {} ", self.0.path().display());
        fs::read_to_string("/proc/mounts").unwrap().lines().any(|line| line.contains(&mark))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.is_mounted() {
            unmount(self.0.path());
        }
    }
}

/// Waits until something is there.
pub fn within<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "waited 20 s for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Something that runs on its own thread, because it may hang.
pub struct Running<T>(mpsc::Receiver<T>);

pub fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    Running(receiver)
}

impl<T> Running<T> {
    /// Still not done after this long.
    pub fn hangs_for(&self, time: Duration) -> bool {
        matches!(self.0.recv_timeout(time), Err(mpsc::RecvTimeoutError::Timeout))
    }
    pub fn ends(self) -> T {
        self.0.recv_timeout(Duration::from_secs(30)).expect("ends within 30 s")
    }
}

pub fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}
