//! Whose is this? The labels on everything this room makes, and whether the process behind them still lives.
//!
//! A killed run cannot clean up; the next one does, and must not touch what a living run uses. So every container,
//! network and volume carries the run's id and its owner: process id, start time of that process, its process
//! namespace and the machine's boot id. An owner that cannot be judged from here counts as living.

use std::{collections::BTreeMap, fs, path::Path};

/// Label that holds the id of the run.
pub const RUN: &str = "dev.firedrill.run";
/// Label that holds the owner, see [`Owner`].
pub const OWNER: &str = "dev.firedrill.owner";
/// Label of what shall outlive its run.
pub const KEEP: &str = "dev.firedrill.keep";
/// Label that holds the digest of the recipe an image was built from.
pub const RECIPE: &str = "dev.firedrill.recipe";
/// Label that holds the name of a cluster on its nodes.
pub const CLUSTER: &str = "io.x-k8s.kind.cluster";
/// Label that holds the role of a node: `control-plane` or `worker`.
pub const ROLE: &str = "io.x-k8s.kind.role";

/// A process on a machine, told apart from every later one with the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pid: u32,
    started: u64,
    namespace: String,
    boot: String,
}

/// What can be said about an owner from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Lives,
    /// It is gone.
    Gone,
    /// It belongs to another process namespace, or its mark is not readable.
    Unknown,
}

impl Owner {
    /// The process that asks.
    pub fn this_process() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: started(pid).unwrap_or(0),
            namespace: namespace().unwrap_or_default(),
            boot: boot().unwrap_or_default(),
        }
    }

    /// Reads the text of a label.
    pub fn parse(label: &str) -> Option<Self> {
        let mut parts = label.split('/');
        let owner = Self {
            pid: parts.next()?.parse().ok()?,
            started: parts.next()?.parse().ok()?,
            namespace: parts.next()?.to_owned(),
            boot: parts.next()?.to_owned(),
        };
        parts.next().is_none().then_some(owner)
    }

    /// The text of the label.
    pub fn label(&self) -> String {
        format!("{}/{}/{}/{}", self.pid, self.started, self.namespace, self.boot)
    }

    /// Says whether the owner still runs.
    pub fn life(&self) -> Life {
        let (Some(here), Some(now)) = (namespace(), boot()) else { return Life::Unknown };
        if self.boot != now {
            return Life::Gone;
        }
        if self.namespace != here {
            return Life::Unknown;
        }
        if started(self.pid) == Some(self.started) { Life::Lives } else { Life::Gone }
    }
}

/// Says whether what bears these labels was left behind: it is ours, not kept, and its owner is gone.
pub fn is_left_behind(labels: &BTreeMap<String, String>) -> bool {
    !labels.contains_key(KEEP) && is_orphan(labels)
}

/// Says whether what bears these labels is ours and its owner is gone, kept or not.
pub(crate) fn is_orphan(labels: &BTreeMap<String, String>) -> bool {
    let owner = labels.get(OWNER).and_then(|label| Owner::parse(label));
    labels.contains_key(RUN) && owner.is_some_and(|owner| owner.life() == Life::Gone)
}

fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; field 22 is the 20th after it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn namespace() -> Option<String> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    let digits: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    Some(digits)
}

fn boot() -> Option<String> {
    let id = fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id")).ok()?;
    Some(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(owner: &Owner) -> BTreeMap<String, String> {
        BTreeMap::from([(RUN.to_owned(), "r".to_owned()), (OWNER.to_owned(), owner.label())])
    }

    #[test]
    fn a_label_is_read_back() {
        let owner = Owner::this_process();
        assert_eq!(Owner::parse(&owner.label()), Some(owner));
        assert_eq!(Owner::parse("12/x/3/4"), None);
        assert_eq!(Owner::parse("1/2/3/4/5"), None);
    }

    #[test]
    fn only_the_dead_are_left_behind() {
        let mut owner = Owner::this_process();
        assert_eq!(owner.life(), Life::Lives);
        assert!(!is_left_behind(&marked(&owner)));
        owner.started += 1; // the same id, given to a later process
        assert!(is_left_behind(&marked(&owner)));
        let mut kept = marked(&owner);
        kept.insert(KEEP.to_owned(), "true".to_owned());
        assert!(!is_left_behind(&kept));
        owner.namespace.push('1');
        assert!(!is_left_behind(&marked(&owner)), "another namespace cannot be judged");
        owner.boot.push('1');
        assert!(is_left_behind(&marked(&owner)), "nobody outlives a boot");
        assert!(!is_left_behind(&BTreeMap::new()), "not ours");
    }
}
