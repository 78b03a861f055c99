//! Writing the termination message where Kubernetes looks for it.
//!
//! The file belongs to the kubelet and exists in a pod; outside of one nothing is written unless
//! `TERMINATION_LOG` names a place.
use std::{collections::BTreeMap, fs::OpenOptions, io, io::Write as _, path::Path};

use contract::{Outcome, environment::safe, pod};

/// Writes the outcome; a machine without the default place is not an error.
pub fn write(variables: &BTreeMap<String, String>, outcome: &Outcome) -> io::Result<()> {
    let named = variables.get(safe::TERMINATION_LOG).filter(|path| !path.is_empty());
    let path = named.map_or(pod::TERMINATION_LOG, String::as_str);
    if named.is_none() && !Path::new(path).exists() {
        return Ok(());
    }
    let mut file = OpenOptions::new().write(true).create(named.is_some()).truncate(true).open(path)?;
    file.write_all(outcome.to_termination_message().as_bytes())
}
