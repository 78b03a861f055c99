//! What to apply to a cluster so that the CSI drivers run there.
//!
//! The texts are in `manifests/`; this fills them in. The cluster needs the snapshot CRDs and the snapshot
//! controller already, the images must be on its nodes, and the image of side programs has them at `/`. Nodes
//! that share the folder `/var/lib/firedrill-csi` share the volumes; give such a cluster leader election. It
//! applies nothing itself.
use crate::character::Character;
const COMMON: &str = include_str!("../../manifests/common.yaml");
const SIDE_PROGRAMS: &str = include_str!("../../manifests/side-programs.yaml");
const SNAPSHOTTER: &str = include_str!("../../manifests/snapshotter.yaml");
const DRIVER: &str = include_str!("../../manifests/driver.yaml");
const SNAPSHOT_CLASS: &str = include_str!("../../manifests/snapshot-class.yaml");

/// The namespace of the drivers.
pub const NAMESPACE: &str = "firedrill-csi";
/// The label of the drivers' pods: `app=firedrill-csi`; the container to exec in is `driver`.
pub const APP: &str = "firedrill-csi";
/// The container of the driver in its pod.
pub const CONTAINER: &str = "driver";

/// When claims of a class bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// At once.
    Immediate,
    /// When a pod wants them.
    WaitForFirstConsumer,
}

/// A driver with its classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// Its name, as in `provisioner:`.
    pub name: String,
    /// What it stands for.
    pub character: Character,
    /// Its storage class.
    pub class: String,
    /// Whether that is the cluster's default.
    pub is_default: bool,
    /// When claims bind.
    pub binding: Binding,
    /// Its volume snapshot class; without one there is no snapshotter either.
    pub snapshot_class: Option<String>,
}

impl Driver {
    /// `<character>.firedrill.dev` with a class of this name and `csi-<class>` for snapshots, which hostpath
    /// has not; hostpath's claims wait for their pod.
    pub fn new(class: &str, character: Character) -> Self {
        let is_hostpath = character == Character::HostPath;
        Self {
            name: format!("{character}.firedrill.dev"),
            character,
            class: class.to_owned(),
            is_default: false,
            binding: if is_hostpath { Binding::WaitForFirstConsumer } else { Binding::Immediate },
            snapshot_class: (!is_hostpath).then(|| format!("csi-{class}")),
        }
    }
}

/// How the drivers are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The image that has `/kit`.
    pub kit_image: String,
    /// The image that has `/csi-provisioner`, `/csi-snapshotter` and `/csi-resizer`.
    pub side_image: String,
    /// The drivers.
    pub drivers: Vec<Driver>,
    /// Seed of chances in faults.
    pub seed: u64,
    /// CephFS: bytes per second that a copy makes; 0 is as fast as the disk.
    pub clone_rate: u64,
    /// How long side programs wait for a call, in seconds.
    pub timeout_seconds: u32,
    /// The longest pause between their retries, in seconds.
    pub retry_max_seconds: u32,
    /// Whether side programs elect a leader: for more than one node.
    pub has_leader_election: bool,
}

impl Options {
    /// One driver of each character, with classes called as the characters, RBD's being the default.
    pub fn new(kit_image: &str, side_image: &str) -> Self {
        let rbd = Driver { is_default: true, ..Driver::new("rbd", Character::Rbd) };
        Self {
            kit_image: kit_image.to_owned(),
            side_image: side_image.to_owned(),
            drivers: vec![
                rbd,
                Driver::new("cephfs", Character::CephFs),
                Driver::new("hostpath", Character::HostPath),
            ],
            seed: 1,
            clone_rate: 0,
            timeout_seconds: 10,
            retry_max_seconds: 10,
            has_leader_election: false,
        }
    }
}

/// Everything in one text: namespace, rights, DaemonSet, CSIDrivers, storage and snapshot classes.
pub fn csi(options: &Options) -> String {
    let (mut side_programs, mut sockets, mut classes) = (String::new(), String::new(), String::new());
    for (nth, driver) in options.drivers.iter().enumerate() {
        // Two drivers may have the same character.
        let short = format!("{}-{}", driver.character, nth + 1);
        let words = |text: &str| {
            filled(
                text,
                &[
                    ("short", &short),
                    ("side-image", &options.side_image),
                    ("timeout", &format!("{}s", options.timeout_seconds)),
                    ("retry-max", &format!("{}s", options.retry_max_seconds)),
                    ("leader-election", &options.has_leader_election.to_string()),
                    ("driver", &driver.name),
                    ("class", &driver.class),
                    ("is-default", &driver.is_default.to_string()),
                    (
                        "binding",
                        match driver.binding {
                            Binding::Immediate => "Immediate",
                            Binding::WaitForFirstConsumer => "WaitForFirstConsumer",
                        },
                    ),
                    // The kubelet leaves directories of the node alone.
                    (
                        "fs-group-policy",
                        if driver.character == Character::HostPath { "None" } else { "File" },
                    ),
                    ("snapshot-class", driver.snapshot_class.as_deref().unwrap_or_default()),
                ],
            )
        };
        side_programs.push_str(&words(SIDE_PROGRAMS));
        classes.push_str(&words(DRIVER));
        if driver.snapshot_class.is_some() {
            side_programs.push_str(&words(SNAPSHOTTER));
            classes.push_str(&words(SNAPSHOT_CLASS));
        }
        let path = format!("/var/lib/kubelet/plugins/{}", driver.name);
        sockets.push_str(&format!(
            "      - {{name: {short}-socket, hostPath: {{path: {path}, type: DirectoryOrCreate}}}}\n"
        ));
    }
    let drivers: Vec<String> = options
        .drivers
        .iter()
        .map(|driver| format!("\"--driver={}={}\"", driver.name, driver.character))
        .collect();
    let common = filled(
        COMMON,
        &[
            ("namespace", NAMESPACE),
            ("kit-image", &options.kit_image),
            ("seed", &options.seed.to_string()),
            ("clone-rate", &options.clone_rate.to_string()),
            ("drivers", &drivers.join(", ")),
            ("side-programs", side_programs.trim_end()),
            ("sockets", sockets.trim_end()),
        ],
    );
    format!("{common}{classes}")
}

/// Puts words in the places of `@word@`.
fn filled(text: &str, words: &[(&str, &str)]) -> String {
    words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(&format!("@{word}@"), value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn documents(options: &Options) -> Vec<Value> {
        let text = csi(options);
        assert!(!text.contains('@'), "a word was not filled in");
        text.split("\n---\n")
            .map(|text| serde_saphyr::from_str(text).expect("each document is YAML"))
            .collect()
    }

    #[test]
    fn every_driver_has_what_it_needs_and_only_the_given_images() {
        let options = Options::new("kind.local/kit:7", "kind.local/csi:9");
        let documents = documents(&options);
        let kinds = |kind: &str| documents.iter().filter(|document| document["kind"] == kind).count();
        assert_eq!(
            (kinds("CSIDriver"), kinds("StorageClass"), kinds("VolumeSnapshotClass"), kinds("DaemonSet")),
            (3, 3, 2, 1)
        );
        let set = documents.iter().find(|document| document["kind"] == "DaemonSet").unwrap();
        let pod = &set["spec"]["template"]["spec"];
        let containers = pod["containers"].as_array().unwrap();
        // The driver; provisioner and resizer for three, snapshotter for two.
        assert_eq!(containers.len(), 1 + 2 * 3 + 2);
        let images: BTreeSet<_> =
            containers.iter().map(|container| container["image"].as_str().unwrap()).collect();
        assert_eq!(images, BTreeSet::from(["kind.local/kit:7", "kind.local/csi:9"]));
        let named = |list: &Value| -> BTreeSet<String> {
            list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
        };
        let volumes = named(&pod["volumes"]);
        for container in containers {
            assert!(named(&container["volumeMounts"]).is_subset(&volumes), "{container}");
        }
        assert_eq!(containers[0]["args"][1], "--driver=cephfs.firedrill.dev=cephfs");
    }

    #[test]
    fn rights_name_no_wildcard_and_no_secret() {
        let text = csi(&Options::new("k", "s"));
        assert!(!text.contains("\"*\"") && !text.contains("secrets") && !text.contains("cluster-admin"));
    }
}
