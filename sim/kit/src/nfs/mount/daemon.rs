//! The process behind a mount: started apart from whoever called, ready before the caller is told, gone with the
//! mount.
//!
//! The caller starts the daemon as a new process (in its own systemd scope if the caller is part of a service,
//! which would take it down with it), reads one line from it, and ends. The daemon leads its own session, holds
//! none of the caller's descriptors, and writes to `/var/log/mount.nfs.log` where there is such a directory.
use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
};

use fuser::{Config, MountOption, Session, SessionACL};

use super::{
    FAILED,
    dial::{self, Source},
    fs::NfsFs,
    options::Options,
    remote::{Remote, credentials},
    work::Work,
};

/// What the daemon says when the mount is there.
const READY: &str = "mounted";
/// Where it tells of servers that do not respond.
const LOG: &str = "/var/log/mount.nfs.log";

/// Why there is no mount.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The daemon cannot be started.
    #[error("cannot start the daemon: {0}")]
    Start(#[source] io::Error),
    /// The daemon says why.
    #[error("{0}")]
    Told(String),
    /// The daemon ended without a word.
    #[error("the daemon ended without a word; see {LOG}")]
    Silent,
}

/// Starts a daemon and waits until it has mounted.
///
/// # Errors
/// [`StartError`], with the daemon's own sentence where it has one.
pub fn start(source: &Source, directory: &Path, options: &str) -> Result<(), StartError> {
    let program = std::env::current_exe().map_err(StartError::Start)?;
    let mut words: Vec<OsString> = vec![program.into(), "mount.nfs".into(), "--serve".into()];
    let source_word = if source.host.contains(':') {
        format!("[{}]:{}", source.host, source.path)
    } else {
        source.to_string()
    };
    words.extend([
        source_word.into(),
        directory.as_os_str().to_owned(),
        "-o".into(),
        format!("{options},").into(),
    ]);
    if is_in_service() {
        let scope = ["systemd-run", "--scope", "--quiet", "--collect", "--description"].map(OsString::from);
        let title = format!("NFS mount of {source}");
        words.splice(0..0, scope.into_iter().chain([title.into(), "--".into()]));
    }
    let mut daemon = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .map_err(StartError::Start)?;
    let Some(stdout) = daemon.stdout.take() else { return Err(StartError::Silent) };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).map_err(StartError::Start)?;
    match line.trim_end() {
        READY => Ok(()),
        "" => Err(StartError::Silent),
        told => Err(StartError::Told(told.to_owned())),
    }
}

/// Whether this process belongs to a systemd service and `systemd-run` can take a daemon out of it.
fn is_in_service() -> bool {
    if !Path::new("/run/systemd/system").is_dir() {
        return false;
    }
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().any(|line| line.rsplit('/').next().is_some_and(|last| last.ends_with(".service")))
}

/// Mounts, says so on standard output, and serves until the mount is gone.
pub fn serve(source: &Source, directory: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    // Already leading a session is as good.
    let _ = rustix::process::setsid();
    if let Ok(log) = OpenOptions::new().append(true).create(true).open(LOG) {
        rustix::stdio::dup2_stderr(&log)?;
    }
    crate::process::log_to_stderr();
    let host = host_name();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let auth = credentials(&host, 0, 0, 0);
    let mounted = match runtime.block_on(dial::mount(source, options, &auth)) {
        Ok(mounted) => mounted,
        Err(error) => return failed(&sentence(&error)),
    };
    let remote = Remote {
        transport: mounted.transport,
        root: mounted.root,
        read_bytes: mounted.read_bytes,
        write_bytes: mounted.write_bytes,
        patience: options.patience(),
    };
    let work = Arc::new(Work::new(remote, options.is_sync));
    let fs = NfsFs::new(work, runtime.handle().clone(), host, options.attribute_cache);
    let session = match Session::new(fs, directory, &config(source, options)) {
        Ok(session) => session,
        Err(error) => return failed(&format!("cannot mount at {}: {error}", directory.display())),
    };
    tracing::info!(%source, directory = %directory.display(), notes = ?options.notes, "mounted");
    println!("{READY}");
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    let target = directory.to_owned();
    runtime.spawn(async move {
        if crate::process::told_to_end().await.is_ok() {
            // The node goes down: whoever still uses the mount reads ENOTCONN, and nothing is left behind.
            let _ = rustix::mount::unmount(&target, rustix::mount::UnmountFlags::DETACH);
            std::process::exit(0);
        }
    });
    let ended = session.run();
    tracing::info!(%source, directory = %directory.display(), ended = ?ended.err(), "unmounted");
    runtime.block_on(dial::unmounted(source, options, &auth));
    // Calls that still wait for a server belong to nobody now.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

fn failed(sentence: &str) -> anyhow::Result<ExitCode> {
    println!("{}", sentence.replace('\n', " "));
    io::stdout().flush()?;
    Ok(ExitCode::from(FAILED))
}

/// An error with its causes, as one sentence.
fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |sentence, cause| format!("{sentence}: {cause}"))
}

/// Our name towards the server, by which faults can aim at us.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn config(source: &Source, options: &Options) -> Config {
    let choose = |is_on: bool, on: MountOption, off: MountOption| if is_on { on } else { off };
    let mut config = Config::default();
    config.acl = SessionACL::All;
    config.mount_options = vec![
        MountOption::FSName(source.to_string()),
        MountOption::Subtype("nfs".to_owned()),
        MountOption::DefaultPermissions,
        choose(options.is_read_only, MountOption::RO, MountOption::RW),
        choose(options.is_suid, MountOption::Suid, MountOption::NoSuid),
        choose(options.is_dev, MountOption::Dev, MountOption::NoDev),
        choose(options.is_exec, MountOption::Exec, MountOption::NoExec),
    ];
    config
}
