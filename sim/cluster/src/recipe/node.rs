//! The node image: a Debian 13 tree that boots systemd, with containerd, kubeadm, the kubelet and every image that a
//! cluster starts already unpacked inside.

use std::path::{Path, PathBuf};

use futures::StreamExt;
use testcontainers::bollard::{
    Docker, body_try_stream,
    query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder},
};
use tokio::process::Command;

use super::{
    COREDNS_TAG, ETCD_TAG, KUBERNETES, NETBASE_IMAGE, NODE_IMAGE, PAUSE_TAG, REPOSITORY, digest, digest_for,
    steps::{self, Go, Kitchen},
};
use crate::{
    Error,
    image::{self, File, Scratch},
    mark,
};

pub(super) const STEPS: usize = 12 + 4;
pub(super) const GO_CURE: &str =
    "install Go 1.24 or newer (Debian: apt-get install golang-go; it fetches a newer toolchain by itself)";
const SUITE_TREE: &str = "debian";

/// What a node holds of Debian 13. etcd is taken out again, for an image of its own.
pub(super) const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "containerd",
    "runc",
    "iptables",
    "nftables",
    "ipset",
    "conntrack",
    "ethtool",
    "socat",
    "iproute2",
    "kmod",
    "mount",
    "procps",
    "e2fsprogs",
    "xfsprogs",
    "fuse3",
    "attr",
    "ca-certificates",
    "containernetworking-plugins",
    "busybox-static",
    "etcd-server",
];

/// What of the recipe goes into it.
pub(super) const SOURCES: &[&str] = &[
    "go/kubernetes",
    "go/coredns",
    "go/storage",
    "node",
    "debian.sh",
    "trim.sh",
    "take.sh",
    "netbase.sh",
    "node.sh",
    "preload.sh",
];

const TAGS: &str = "selinux,notest,grpcnotrace";

const fn kubernetes(program: &'static str, package: &'static str) -> Go {
    Go { program, module: "kubernetes", package, tags: TAGS, kubernetes: true }
}

const fn storage(program: &'static str, package: &'static str) -> Go {
    Go { program, module: "storage", package, tags: "", kubernetes: false }
}

/// In this order: the API server's build compiles most of what the others need.
const PROGRAMS: [Go; 12] = [
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    kubernetes("kubeadm", "k8s.io/kubernetes/cmd/kubeadm"),
    kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    Go {
        program: "coredns",
        module: "coredns",
        package: "github.com/coredns/coredns",
        tags: "",
        kubernetes: false,
    },
    storage(
        "snapshot-controller",
        "github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller",
    ),
    storage("csi-snapshotter", "github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter"),
    storage("csi-provisioner", "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner"),
    storage("csi-resizer", "github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer"),
];

pub(super) async fn build(kitchen: &Kitchen, docker: &Docker) -> Result<(), Error> {
    const WHAT: &str = "the node image";
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot { what: "making a Debian tree for the node image" });
    }
    if image::architecture() != "amd64" {
        return Err(Error::Tool {
            program: "a recipe for this processor",
            what: WHAT,
            cure: "build on amd64, or use a stock kindest/node image (--node-image)",
        });
    }
    steps::require("go", WHAT, GO_CURE)?;
    steps::require("debootstrap", WHAT, "install it (Debian: apt-get install debootstrap)")?;
    steps::require("cc", WHAT, "install gcc and libc6-dev")?;
    steps::require("tar", WHAT, "install tar")?;

    // The tree waits for the network and dpkg, the programs for the processors.
    let programs = async {
        for program in &PROGRAMS {
            kitchen.go(program).await?;
        }
        Ok(())
    };
    let tree = kitchen.path(SUITE_TREE);
    futures::future::try_join(programs, debian(kitchen, &tree)).await?;

    let key = digest_for(NODE_IMAGE);
    let archives = kitchen.path("archives");
    kitchen
        .step("make the images of the components", &key, &archives, async |partial| {
            components(kitchen, &tree, &partial).await
        })
        .await?;
    let node = kitchen.path("node");
    let what = "make the node's tree";
    kitchen
        .step(what, &key, &node, async |partial| {
            let mut copy = Command::new("cp");
            copy.args(["-a", "--reflink=auto"]).arg(&tree).arg(&partial);
            kitchen.run("copy the Debian tree", copy).await?;
            kitchen.script(what, "node.sh", &[&partial, &kitchen.path("out"), Path::new(KUBERNETES)]).await?;
            // Inside the tree's step: containerd writes into the tree, and half a preload is no tree.
            let mut arguments = vec![partial, kitchen.path("containerd")];
            let entries = std::fs::read_dir(&archives).map_err(Error::file("read", &archives))?;
            let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            files.retain(|path| path.extension().is_some_and(|ending| ending == "tar"));
            files.sort();
            arguments.extend(files);
            let arguments: Vec<_> = arguments.iter().map(PathBuf::as_path).collect();
            kitchen.script("preload the images", "preload.sh", &arguments).await
        })
        .await?;
    let handed = kitchen.path("handed");
    steps::remove(&handed)?; // whether the engine has the images is the engine's to say
    kitchen
        .step("hand the images to Docker", &key, &handed, async |partial| {
            image::load(docker, &archives.join("netbase.tar")).await?;
            import(docker, &node, &key).await?;
            std::fs::write(&partial, "").map_err(Error::file("write", &partial))
        })
        .await?;
    // Both are inside the image now. What stays is what others load by themselves, and what was long in the making.
    std::fs::rename(archives.join("csi.tar"), super::side_programs_archive())
        .map_err(Error::file("keep", super::side_programs_archive()))?;
    steps::remove(&archives)?;
    steps::remove(&node)
}

/// A Debian tree, made once per list of packages.
async fn debian(kitchen: &Kitchen, tree: &Path) -> Result<(), Error> {
    let what = "make a Debian 13 tree";
    kitchen
        .step(what, &digest(&["debian.sh", "trim.sh"], PACKAGES), tree, async |partial| {
            let mut arguments = vec![partial.as_path()];
            arguments.extend(PACKAGES.iter().map(Path::new));
            let made = kitchen.script(what, "debian.sh", &arguments).await;
            steps::release_mounts(&partial);
            made
        })
        .await
}

/// The archives of everything that runs in a cluster by itself, one file each.
async fn components(kitchen: &Kitchen, tree: &Path, archives: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(archives).map_err(Error::file("make", archives))?;
    let make = |file: &str, scratch: Scratch| {
        image::from_scratch(&scratch, &archives.join(format!("{file}.tar"))).map(drop)
    };
    let named = |name: &str, tag: &str, files: Vec<File>| Scratch {
        name: format!("{REPOSITORY}/{name}:{tag}"),
        files,
        ..Scratch::default()
    };
    let pause = archives.join("pause");
    let mut cc = Command::new("cc");
    cc.args(["-Os", "-static", "-s", "-o"]).arg(&pause).arg(kitchen.recipe("node/pause.c"));
    kitchen.run("compile the pod sandbox", cc).await?;
    make(
        "pause",
        Scratch {
            entrypoint: vec!["/pause".to_owned()],
            user: "65535:65535".to_owned(),
            ..named("pause", PAUSE_TAG, vec![File::program("/pause", &pause)])
        },
    )?;
    for program in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let files = vec![File::program(&format!("/usr/local/bin/{program}"), kitchen.out(program))];
        make(program, named(program, KUBERNETES, files))?;
    }
    make(
        "coredns",
        Scratch {
            entrypoint: vec!["/coredns".to_owned()],
            ..named("coredns", COREDNS_TAG, vec![File::program("/coredns", kitchen.out("coredns"))])
        },
    )?;
    let library = "usr/lib/x86_64-linux-gnu/libc.so.6";
    make(
        "etcd",
        named(
            "etcd",
            ETCD_TAG,
            vec![
                File::program("/usr/local/bin/etcd", tree.join("kind/etcd")),
                File::program("/lib64/ld-linux-x86-64.so.2", tree.join("usr/lib64/ld-linux-x86-64.so.2")),
                File::program("/lib/x86_64-linux-gnu/libc.so.6", tree.join(library)),
            ],
        ),
    )?;
    let netbase = archives.join("netbase");
    kitchen.script("take tools out of the Debian tree", "netbase.sh", &[tree, &netbase]).await?;
    make(
        "netbase",
        Scratch {
            labels: [(mark::RECIPE.to_owned(), digest_for(NETBASE_IMAGE))].into(),
            entrypoint: vec!["/bin/sh".to_owned()],
            ..named("netbase", "1", vec![File::tree("/", &netbase)])
        },
    )?;
    make(
        "kube-proxy",
        named(
            "kube-proxy",
            KUBERNETES,
            vec![
                File::tree("/", &netbase),
                File::program("/usr/local/bin/kube-proxy", kitchen.out("kube-proxy")),
            ],
        ),
    )?;
    let side_programs = ["snapshot-controller", "csi-snapshotter", "csi-provisioner", "csi-resizer"];
    let files = side_programs.map(|program| File::program(&format!("/{program}"), kitchen.out(program)));
    make("csi", named("csi", "1", files.to_vec()))?;
    let busybox = tree.join("usr/bin/busybox");
    let mut files = vec![File::program("/bin/busybox", &busybox), File::directory("/tmp", 0o1777)];
    files.push(File::text("/etc/passwd", "root:x:0:0:root:/:/bin/sh\n"));
    let applets =
        std::process::Command::new(&busybox).arg("--list").output().map_err(Error::file("run", &busybox))?;
    let applets = String::from_utf8_lossy(&applets.stdout).into_owned();
    files.extend(
        applets
            .lines()
            .filter(|name| *name != "busybox")
            .map(|name| File::link(&format!("/bin/{name}"), "busybox")),
    );
    make("busybox", Scratch { entrypoint: vec!["/bin/sh".to_owned()], ..named("busybox", "1", files) })?;
    steps::remove(&netbase)?;
    steps::remove(&pause)
}

/// Streams the tree into the engine as an image of one layer, and drops the image that bore the name before.
async fn import(docker: &Docker, node: &Path, key: &str) -> Result<(), Error> {
    let before = docker.inspect_image(NODE_IMAGE).await.ok().and_then(|image| image.id);
    let mut tar = Command::new("tar")
        .arg("-C")
        .arg(node)
        .args(["--numeric-owner", "-cf", "-", "."])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Error::file("pack", node))?;
    let output = tar.stdout.take().expect("the output was piped");
    let pieces = futures::stream::try_unfold(output, |mut output| async move {
        let mut piece = vec![0; 1 << 20];
        let read = tokio::io::AsyncReadExt::read(&mut output, &mut piece).await?;
        piece.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (bytes::Bytes::from(piece), output)))
    });
    let changes = vec![
        "ENV container=docker".to_owned(),
        r#"ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]"#.to_owned(),
        format!("LABEL {}={key}", mark::RECIPE),
    ];
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(NODE_IMAGE).changes(changes).build();
    let mut answers = docker.create_image(Some(options), Some(body_try_stream(pieces)), None);
    while let Some(answer) = answers.next().await {
        answer.map_err(Error::docker(format!("import {NODE_IMAGE}")))?;
    }
    let packed = tar.wait().await.map_err(Error::file("pack", node))?;
    if !packed.success() {
        let detail = format!("tar ended with {packed}");
        return Err(Error::Step {
            step: "hand the images to Docker".to_owned(),
            detail,
            log: node.to_owned(),
        });
    }
    let after = docker.inspect_image(NODE_IMAGE).await.ok().and_then(|image| image.id);
    if let Some(before) = before.filter(|before| Some(before) != after.as_ref()) {
        let options = RemoveImageOptionsBuilder::new().build();
        let _ = docker.remove_image(&before, Some(options), None).await; // in use by a living node: it stays until then
    }
    Ok(())
}
