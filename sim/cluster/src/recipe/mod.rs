//! The recipe of the images: Debian packages and Go modules in, a node that needs no registry out.
//!
//! The recipe's files are inside this program, so an installed one can build as well as a checkout. Results lie below
//! [`crate::cache::root`] under `images/`; each step's result bears the digest of what it was made from, so a change
//! rebuilds what depends on it and an interrupted build goes on where it was. One build runs at a time.
//!
//! Nothing here talks to a registry of images. Read [`steps`] for how a step is run, [`node`] for what a node holds.

mod minio;
mod node;
mod steps;

use std::{fs, path::PathBuf};

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};
use testcontainers::bollard::Docker;

use crate::{Error, cache, engine, image::Part, progress::Monitor};
use steps::Go;
pub(crate) use steps::{Kitchen, on_path, require};

pub(crate) const REPOSITORY: &str = "kind.local";
pub(crate) const KUBERNETES: &str = "v1.34.10";
pub(crate) const COREDNS_TAG: &str = "v1.12.1";
/// Below 3.6, so that kubeadm passes the flag names which Debian's etcd knows.
pub(crate) const ETCD_TAG: &str = "3.5.16-0";
const PAUSE_TAG: &str = "3.10.1";
/// Name and tag of the node image.
pub const NODE_IMAGE: &str = "kind.local/node:v1.34.10";
/// Name and tag of the MinIO image.
pub const MINIO_IMAGE: &str = "kind.local/minio:1";
/// Name and tag of a small image with a shell, file, mount and packet filter tools; every node has it.
pub const NETBASE_IMAGE: &str = "kind.local/netbase:1";
/// Name and tag of the image with `/csi-provisioner`, `/csi-snapshotter`, `/csi-resizer` and `/snapshot-controller`;
/// every node has it.
pub const SIDE_PROGRAMS_IMAGE: &str = "kind.local/csi:1";

pub(crate) const SNAPSHOT_CRDS: &str = include_str!("../../recipe/manifests/snapshot-crds.yaml");
pub(crate) const SNAPSHOT_CONTROLLER: &str = include_str!("../../recipe/manifests/snapshot-controller.yaml");

/// What goes into images. Manifests are applied from outside, so a change there rebuilds nothing.
static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/recipe");

/// Builds what is missing or outdated.
pub(crate) async fn build(docker: &Docker, parts: &[Part], monitor: &Monitor) -> Result<(), Error> {
    let mut wanted = Vec::new();
    for part in parts {
        let there = match part {
            Part::Node => {
                crate::image::is_current(docker, NODE_IMAGE).await?
                    && crate::image::is_current(docker, NETBASE_IMAGE).await?
            }
            Part::Minio => crate::image::is_current(docker, MINIO_IMAGE).await?,
            Part::Helm => helm().is_some(),
        };
        if there {
            monitor.tell(part.name(), 0, 0, crate::progress::News::Cached);
        } else {
            wanted.push(*part);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let root = cache::root().join("images");
    engine::check_disk(
        &root,
        if root.join("out/kubelet").exists() { 4000 } else { 14000 },
        "building images",
    )?;
    let count = wanted.iter().map(|part| match part {
        Part::Node => node::STEPS,
        Part::Minio => minio::STEPS,
        Part::Helm => 1,
    });
    let kitchen = Kitchen::open(root, count.sum(), monitor.clone()).await?;
    for part in wanted {
        match part {
            Part::Node => node::build(&kitchen, docker).await?,
            Part::Minio => minio::build(&kitchen, docker).await?,
            Part::Helm => {
                steps::require(
                    "go",
                    "helm",
                    "install helm, or Go 1.24 or newer to build it from its module",
                )?;
                kitchen.go(&HELM).await?;
            }
        }
    }
    Ok(())
}

const HELM: Go = Go {
    program: "helm",
    module: "storage",
    package: "helm.sh/helm/v3/cmd/helm",
    tags: "",
    kubernetes: false,
};

/// The `helm` on PATH, else the one that was built here from the recipe inside this program.
pub(crate) fn helm() -> Option<PathBuf> {
    let built = cache::root().join("images/out/helm");
    steps::on_path("helm").or_else(|| steps::is_made(&built, &HELM.key()).then_some(built))
}

/// Where the archive of the image with the CSI side programs stays after a build, for nodes of other images.
pub(crate) fn side_programs_archive() -> PathBuf {
    cache::root().join("images/csi.tar")
}

/// Digest of the recipe of an image by its name; empty for images that no recipe makes.
pub(crate) fn digest_for(name: &str) -> String {
    match name {
        NODE_IMAGE | NETBASE_IMAGE => digest(node::SOURCES, node::PACKAGES),
        MINIO_IMAGE => digest(&["go/minio"], &[]),
        _ => String::new(),
    }
}

/// Sixteen hexadecimal digits of the digest of some files and folders of the recipe, packages and the versions.
fn digest(sources: &[&str], packages: &[&str]) -> String {
    let mut sha = Sha256::new();
    let mut add = |name: &str, bytes: &[u8]| {
        sha.update((name.len() as u64).to_be_bytes());
        sha.update(name);
        sha.update((bytes.len() as u64).to_be_bytes());
        sha.update(bytes);
    };
    for source in sources {
        let mut files: Vec<_> = match FILES.get_dir(source) {
            Some(folder) => folder.files().collect(),
            None => vec![FILES.get_file(source).expect("the recipe holds the files its digest is made of")],
        };
        files.sort_by_key(|file| file.path());
        for file in files {
            add(&file.path().to_string_lossy(), file.contents());
        }
    }
    for text in packages.iter().chain(&[KUBERNETES, COREDNS_TAG, ETCD_TAG, PAUSE_TAG]) {
        add("text", text.as_bytes());
    }
    hex::encode(&sha.finalize()[..8])
}

/// Removes everything cached for building; mounts that a killed build left inside go first.
pub(crate) async fn forget() -> Result<(), Error> {
    let root = cache::root().join("images");
    if !root.exists() {
        return Ok(());
    }
    let _kitchen = Kitchen::open(root.clone(), 0, Monitor::silent()).await?; // nobody else is building
    steps::release_mounts(&root);
    fs::remove_dir_all(&root).map_err(Error::file("remove", &root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_known_by_its_digest() {
        let node = digest_for(NODE_IMAGE);
        assert_eq!(node.len(), 16);
        assert_eq!(node, digest_for(NETBASE_IMAGE));
        assert_ne!(node, digest_for(MINIO_IMAGE));
        assert_eq!(digest_for("busybox:1"), "");
        assert_ne!(digest(&["node"], &["systemd"]), digest(&["node"], &["systemd", "runc"]));
        assert_ne!(digest(&["node"], &[]), digest(&["go/minio"], &[]));
    }

    #[test]
    fn every_named_file_of_the_recipe_is_inside_the_program() {
        for name in [
            "node.sh",
            "take.sh",
            "netbase.sh",
            "debian.sh",
            "trim.sh",
            "preload.sh",
            "node/entrypoint",
            "node/pause.c",
        ] {
            assert!(FILES.get_file(name).is_some(), "{name}");
        }
        for module in ["kubernetes", "coredns", "storage", "minio"] {
            for file in ["go.mod", "go.sum"] {
                assert!(FILES.get_file(format!("go/{module}/{file}")).is_some(), "{module} {file}");
            }
        }
    }

    #[test]
    fn the_modules_hold_the_versions_that_the_images_are_named_by() {
        let text =
            |module: &str| FILES.get_file(format!("go/{module}/go.mod")).unwrap().contents_utf8().unwrap();
        assert!(text("kubernetes").contains(&format!("k8s.io/kubernetes {KUBERNETES}")));
        assert!(text("coredns").contains(&format!("github.com/coredns/coredns {COREDNS_TAG}")));
        assert!(NODE_IMAGE.ends_with(KUBERNETES));
        let sandbox = FILES.get_file("node/containerd.toml").unwrap().contents_utf8().unwrap();
        assert!(sandbox.contains(&format!("{REPOSITORY}/pause:{PAUSE_TAG}")));
        assert!(SNAPSHOT_CONTROLLER.contains(SIDE_PROGRAMS_IMAGE));
        let network = FILES.get_file("node/10-node.conflist").unwrap().contents_utf8().unwrap();
        assert!(network.contains("10.244.0.0/24"));
    }
}
