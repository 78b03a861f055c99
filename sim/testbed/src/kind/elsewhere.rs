//! A second machine: a container beside the cluster that has never seen a repository.
//!
//! Each restore has directories of its own there, so that every cache is empty. The mover restores as in a pod, with
//! the Secret's keys but the store's own address, past the proxy; a directory of the NFS server is mounted from the
//! server itself. Where whoever prepared the cluster had Kopia, that restores too, and both are judged. What is read
//! afterwards is the tree as the container's file system holds it. A repository on a claim has no other machine that
//! could reach it.

use std::fmt::Write as _;

use contract::{environment as env, pod};
use scenario::step::Place;

use super::{
    Bed,
    coordinates::{Machine, ObjectStore},
    trees,
};
use crate::{
    inspect::Taken,
    verbs::{Elsewhere, REPOSITORY_MOUNT, Trouble},
    volume::{Character, Volume},
};

/// Where the machine keeps what it does.
pub(super) const WORK: &str = "/restores";
/// Where its programs are.
pub(super) const KIT: &str = "/kit";
pub(super) const MOVER: &str = "/mover";
pub(super) const KOPIA: &str = "/kopia";

/// How a repository is reached from the machine.
enum Way {
    Bucket { store: ObjectStore, bucket: String },
    Directory(String),
}

impl Bed {
    pub(super) fn restored_elsewhere(
        &mut self,
        place: &Place,
        password: &str,
        snapshot: &Taken,
    ) -> Result<Vec<Elsewhere>, Trouble> {
        let machine = self.at.elsewhere.clone().ok_or_else(|| {
            Trouble::Unsupported("this cluster was prepared without a machine beside it".to_owned())
        })?;
        let way = self.way(&machine, place)?;
        let mut restored = Vec::new();
        let by_mover = if machine.kopia.is_empty() {
            "the mover on a machine beside the cluster, without Kopia beside it because there was none on PATH"
        } else {
            "the mover on a machine beside the cluster"
        };
        let (command, variables) = by_the_mover(&way, password, snapshot);
        restored.push(self.elsewhere(&machine, by_mover, &way, &command, variables)?);
        if !machine.kopia.is_empty() {
            let (command, variables) = by_kopia(&machine, &way, password, snapshot);
            let by = "Kopia itself on a machine beside the cluster";
            restored.push(self.elsewhere(&machine, by, &way, &command, variables)?);
        }
        Ok(restored)
    }

    fn way(&mut self, machine: &Machine, place: &Place) -> Result<Way, Trouble> {
        match place {
            Place::Bucket(bucket) => {
                Ok(Way::Bucket { store: self.store(false)?, bucket: self.private(bucket) })
            }
            Place::TlsBucket(bucket) => {
                Ok(Way::Bucket { store: self.store(true)?, bucket: self.private(bucket) })
            }
            Place::NfsExport(export) => {
                let nas = self.nas()?;
                let source = format!("{}:{}/{}", nas.server, nas.export, self.private(export));
                let directory = format!("{}/{REPOSITORY_MOUNT}", self.fresh_directory(machine)?);
                self.in_container(&machine.container, &[KIT, "hand", "make", &directory], None)?;
                self.in_container(
                    &machine.container,
                    &[KIT, "mount.nfs", &source, &directory, "-o", "ro"],
                    None,
                )?;
                Ok(Way::Directory(directory))
            }
            Place::Claim(_) => Err(Trouble::Unsupported(
                "a repository on a claim lives in the cluster: no other machine reaches it".to_owned(),
            )),
        }
    }

    /// A directory that nothing was ever in.
    fn fresh_directory(&mut self, machine: &Machine) -> Result<String, Trouble> {
        self.machines += 1;
        let directory = format!("{WORK}/{}{}", self.prefix, self.machines);
        self.in_container(&machine.container, &[KIT, "hand", "make", &directory], None)?;
        Ok(directory)
    }

    /// Runs commands in fresh directories and reads what they restored.
    fn elsewhere(
        &mut self,
        machine: &Machine,
        by: &str,
        way: &Way,
        commands: &[Vec<String>],
        variables: Vec<(&'static str, String)>,
    ) -> Result<Elsewhere, Trouble> {
        let fresh = self.fresh_directory(machine)?;
        let data = format!("{fresh}/data");
        self.in_container(&machine.container, &[KIT, "hand", "make", &data], None)?;
        let (docker_variables, container) = (variables, machine.container.clone());
        let authority = match way {
            Way::Bucket { store, .. } => store.authority.clone(),
            Way::Directory(_) => String::new(),
        };
        let ran = self.runtime.block_on(async {
            let docker = cluster::engine::connect().await?;
            cluster::exec::write(
                &docker,
                &container,
                &format!("{fresh}/{}", pod::CUSTOM_CA_FILE),
                authority.as_bytes(),
                0o644,
            )
            .await?;
            for words in commands {
                let words = words.iter().map(|word| word.replace(FRESH, &fresh));
                let mut command = cluster::Command::new(words);
                for (name, value) in &docker_variables {
                    command = command.env(name, &value.replace(FRESH, &fresh));
                }
                let said = cluster::exec::exec(&docker, &container, command).await?;
                if said.code != 0 {
                    return Ok(Err(format!("it ended with {}: {}", said.code, said.tail())));
                }
            }
            Ok(Ok(()))
        });
        let ran = ran.map_err(|error: cluster::Error| Trouble::Broken(cluster::chain(&error)))?;
        let held = match ran {
            Ok(()) => Ok(self.read_directory(machine, &data)?),
            Err(why) => Err(why),
        };
        Ok(Elsewhere { by: by.to_owned(), held })
    }

    fn read_directory(&self, machine: &Machine, directory: &str) -> Result<Volume, Trouble> {
        let stream = self.in_container(&machine.container, &[KIT, "hand", "read", directory], None)?;
        let volume = trees::unpack(&stream, "elsewhere", Character::HostPath, self.clock.as_function());
        volume.map_err(|error| Trouble::Broken(format!("{directory} was not read whole: {error}")))
    }
}

/// Stands in words and values for the fresh directory of a restore.
const FRESH: &str = "{fresh}";

fn by_the_mover(
    way: &Way,
    password: &str,
    snapshot: &Taken,
) -> (Vec<Vec<String>>, Vec<(&'static str, String)>) {
    let mut variables = vec![
        (env::KOPIA_PASSWORD, password.to_owned()),
        (env::DATA_DIR, format!("{FRESH}/data")),
        (env::KOPIA_CACHE_DIR, format!("{FRESH}/cache")),
        (env::KOPIA_OVERRIDE_USERNAME, snapshot.username.clone()),
        (env::KOPIA_OVERRIDE_HOSTNAME, snapshot.host.clone()),
        (env::KOPIA_SOURCE_PATH_OVERRIDE, snapshot.path.clone()),
        (env::safe::TERMINATION_LOG, format!("{FRESH}/termination-log")),
    ];
    match way {
        Way::Directory(directory) => {
            variables.push((env::KOPIA_REPOSITORY, format!("filesystem://{directory}")));
        }
        Way::Bucket { store, bucket } => {
            variables.extend([
                (env::KOPIA_REPOSITORY, format!("s3://{bucket}")),
                (env::KOPIA_S3_ENDPOINT, store.straight.clone()),
                (env::AWS_ACCESS_KEY_ID, store.access_key.clone()),
                (env::AWS_SECRET_ACCESS_KEY, store.secret_key.clone()),
            ]);
            variables.push(if store.authority.is_empty() {
                (env::KOPIA_S3_DISABLE_TLS, "true".to_owned())
            } else {
                (env::CUSTOM_CA, format!("{FRESH}/{}", pod::CUSTOM_CA_FILE))
            });
        }
    }
    (vec![[MOVER, pod::ARGUMENT_RESTORE].map(str::to_owned).to_vec()], variables)
}

fn by_kopia(
    machine: &Machine,
    way: &Way,
    password: &str,
    snapshot: &Taken,
) -> (Vec<Vec<String>>, Vec<(&'static str, String)>) {
    let variables = vec![
        (env::KOPIA_PASSWORD, password.to_owned()),
        ("HOME", FRESH.to_owned()),
        ("KOPIA_CACHE_DIRECTORY", format!("{FRESH}/kopia-cache")),
        ("KOPIA_CONFIG_PATH", format!("{FRESH}/kopia.config")),
        ("KOPIA_LOG_DIR", format!("{FRESH}/kopia-log")),
        ("KOPIA_CHECK_FOR_UPDATES", "false".to_owned()),
    ];
    let connect = match way {
        Way::Directory(directory) => format!("filesystem --path={directory}"),
        Way::Bucket { store, bucket } => {
            let mut words = format!(
                "s3 --bucket={bucket} --endpoint={} --access-key={} --secret-access-key={}",
                store.straight, store.access_key, store.secret_key
            );
            let trust = if store.authority.is_empty() {
                "--disable-tls".to_owned()
            } else {
                format!("--root-ca-pem-path={FRESH}/{}", pod::CUSTOM_CA_FILE)
            };
            let _ = write!(words, " {trust}");
            words
        }
    };
    let said = [
        format!("repository connect {connect} --readonly --no-use-keyring"),
        format!("snapshot restore {} {FRESH}/data", snapshot.id),
    ];
    let commands = said.iter().map(|line| {
        std::iter::once(machine.kopia.as_str()).chain(line.split(' ')).map(str::to_owned).collect()
    });
    (commands.collect(), variables)
}
