//! `firedrill serve`: an embedded cluster in real time on loopback, for curl, kubectl and controllers.
//!
//! Promises that nothing outside this machine can reach it (127.0.0.1 only), that the kubeconfig works
//! with stock kubectl, and that Ctrl-C ends it at once. There are no users and no TLS: whoever reaches
//! the port is the cluster's administrator. Nothing outlives the process.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use testbed::{
    bed::{Bed, Options},
    subject::Subject,
};

use crate::drive;

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
pub fn command(args: &Args) -> anyhow::Result<u8> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))
        .with_context(|| format!("port {} cannot be taken; choose another with --port, or --port 0 for a free one", args.port))?;
    let port = listener.local_addr()?.port();
    let mut bed = Bed::start(Options {
        seed: 1,
        epoch: jiff::Timestamp::now(),
        subject: match args.subject {
            Served::Reference => Subject::default(),
            Served::None => Subject::None,
        },
        classes: drive::classes("rbd"),
        nodes: vec!["node-a".to_owned()],
        real_time: true,
        ..Options::default()
    });
    bed.record().keep_newest(10_000);
    // Repositories of people who try it: a bucket that any Secret can name.
    bed.make_bucket("minio:9000", "backups");
    write_kubeconfig(&args.kubeconfig, port)?;
    let shown = args.kubeconfig.display();
    println!("an embedded cluster listens on http://127.0.0.1:{port}");
    println!("  curl http://127.0.0.1:{port}/apis/volsync.backube/v1alpha1/replicationsources");
    println!("  kubectl --kubeconfig {shown} get storageclasses");
    println!("storage classes rbd, cephfs, hostpath, zfs and nfs; the bucket `backups` at minio:9000 takes repositories");
    println!("Ctrl-C ends it");
    bed.serve(listener, async {
        let _ = tokio::signal::ctrl_c().await;
    })
    .context("the cluster can no longer be served")?;
    println!("ended");
    Ok(0)
}

fn write_kubeconfig(path: &Path, port: u16) -> anyhow::Result<()> {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: firedrill\nclusters:\n- name: firedrill\n  cluster: {{server: \"http://127.0.0.1:{port}\"}}\n\
         contexts:\n- name: firedrill\n  context: {{cluster: firedrill, user: firedrill}}\nusers:\n- name: firedrill\n  user: {{}}\n"
    );
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("{} cannot be written; choose another --kubeconfig", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_names_the_port() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/kubeconfig");
        write_kubeconfig(&path, 8123).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(value["clusters"][0]["cluster"]["server"], "http://127.0.0.1:8123");
        assert_eq!(value["current-context"], value["contexts"][0]["name"]);
    }
}
