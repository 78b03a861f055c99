//! `firedrill serve`: an embedded cluster in real time on loopback, for curl, kubectl and controllers.
//!
//! The same bed as everywhere, with the clock on the wall and a socket in front. Promises that what it
//! wrote is gone when it ends, that it ends with 0 on Ctrl-C and on SIGTERM, and that a file it did not
//! write is never replaced: a kubeconfig of one's own is easily named by mistake. No TLS, no users, no
//! credentials: it listens on loopback only.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use testbed::{
    bed::{Bed, Options},
    subject::{Profile, Subject},
};

use crate::drive;

/// The first line of a kubeconfig that may be replaced and removed.
const MARK: &str = "# Written by `firedrill serve`, which removes it when it ends.";

/// The bucket that every served cluster has, and where Secrets say it is.
const BUCKET: &str = "backups";
const ENDPOINT: &str = "minio:9000";

/// How many events of the record are held in memory; nobody reads further back.
const EVENTS_KEPT: usize = 10_000;

/// Arguments of `firedrill serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 8001)]
    pub port: u16,
    /// Writes a kubeconfig for it to this file.
    #[arg(long, value_name = "FILE", default_value = "target/firedrill/kubeconfig")]
    pub kubeconfig: PathBuf,
    /// Who reconciles: the reference, or nobody, so that your own controller can.
    #[arg(long, value_enum, default_value_t)]
    pub subject: Served,
}

/// Who reconciles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Served {
    /// The reference controller and mover.
    #[default]
    Reference,
    /// Nobody.
    None,
}

/// Serves until interrupted.
///
/// # Errors
/// The port is taken, or the kubeconfig cannot be written or is somebody else's.
pub fn command(args: &Args) -> anyhow::Result<u8> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).with_context(|| {
        format!("port {} of 127.0.0.1 cannot be had; --port 0 takes a free one", args.port)
    })?;
    let address = listener.local_addr().context("the socket has no address")?;
    let kubeconfig = Kubeconfig::write(&args.kubeconfig, address)?;
    #[expect(clippy::disallowed_methods, reason = "a served cluster shows the time on the wall")]
    let epoch = jiff::Timestamp::now();
    let (subject, who) = match args.subject {
        Served::Reference => (Subject::Reference(Profile::Safe), "the reference reconciles"),
        Served::None => (Subject::None, "nobody reconciles: start your own controller"),
    };
    let mut bed = Bed::start(Options {
        subject,
        epoch,
        real_time: true,
        classes: drive::classes("rbd"),
        ..Options::default()
    });
    bed.record().keep_newest(EVENTS_KEPT);
    bed.make_bucket(ENDPOINT, BUCKET);
    println!("serving on http://{address}: {who}");
    println!("  export KUBECONFIG={}", kubeconfig.path.display());
    println!("  curl http://{address}/apis/volsync.backube/v1alpha1/replicationsources");
    println!("storage classes rbd (default), cephfs, hostpath, zfs, nfs");
    println!(
        "repositories in the bucket {BUCKET}: KOPIA_REPOSITORY=s3://{BUCKET}, KOPIA_S3_ENDPOINT={ENDPOINT}, any keys"
    );
    println!("Ctrl-C ends it; nothing is kept");
    std::io::stdout().flush()?;
    let served = bed.serve(listener, stopped());
    kubeconfig.remove()?;
    served.context("the socket is of no more use")?;
    Ok(0)
}

/// Waits for the process to be told to stop.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// A kubeconfig on disk that is ours, with what was written.
struct Kubeconfig {
    path: PathBuf,
    text: String,
}

impl Kubeconfig {
    fn write(path: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) if !text.starts_with(MARK) => {
                anyhow::bail!(
                    "{} is a file that firedrill did not write; name another with --kubeconfig",
                    path.display()
                )
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| {
                    format!("{} cannot be read; name another with --kubeconfig", path.display())
                });
            }
            _ => {}
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let text = text(address);
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, &text));
        written.with_context(|| {
            format!("{} cannot be written; name another with --kubeconfig", path.display())
        })?;
        Ok(Self { path: path.canonicalize().unwrap_or_else(|_| path.to_owned()), text })
    }

    /// Removes it, unless another `serve` has taken its place since.
    fn remove(self) -> anyhow::Result<()> {
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            fs::remove_file(&self.path)
                .with_context(|| format!("{} cannot be removed", self.path.display()))?;
        }
        Ok(())
    }
}

fn text(address: SocketAddr) -> String {
    format!(
        "\
{MARK}
apiVersion: v1
kind: Config
clusters:
  - name: firedrill
    cluster: {{server: \"http://{address}\"}}
users:
  - name: firedrill
    user: {{}}
contexts:
  - name: firedrill
    context: {{cluster: firedrill, user: firedrill, namespace: default}}
current-context: firedrill
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_of_ones_own_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/config");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let first = Kubeconfig::write(&path, address).unwrap();
        let second = Kubeconfig::write(&path, SocketAddr::from((Ipv4Addr::LOCALHOST, 2))).unwrap();
        first.remove().unwrap();
        assert!(path.exists(), "the second one is not the first one's to remove");
        second.remove().unwrap();
        assert!(!path.exists());
        fs::write(&path, "apiVersion: v1\n").unwrap();
        let error = Kubeconfig::write(&path, address).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("did not write") && error.contains("--kubeconfig"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "apiVersion: v1\n");
    }
}
