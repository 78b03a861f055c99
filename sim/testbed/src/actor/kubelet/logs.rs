//! What containers of pods printed, longer than a node keeps it.
//!
//! A log outlives its pod, so that a test can quote a mover that is gone; the oldest are forgotten, because a
//! year has tens of thousands of them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

/// Pods whose logs are kept.
const PODS_MAX: usize = 1024;

/// The logs of a bed's pods; clones are the same logs.
#[derive(Clone, Debug, Default)]
pub struct Logs(Arc<Mutex<Kept>>);

/// Namespace and pod.
type Key = (String, String);

#[derive(Debug, Default)]
struct Kept {
    texts: BTreeMap<Key, String>,
    /// In the order of their first lines.
    pods: VecDeque<Key>,
}

impl Logs {
    /// Adds a line, without its end.
    pub fn add(&self, namespace: &str, pod: &str, line: &str) {
        let mut kept = self.lock();
        let key = (namespace.to_owned(), pod.to_owned());
        if !kept.texts.contains_key(&key) {
            kept.pods.push_back(key.clone());
            if kept.pods.len() > PODS_MAX
                && let Some(oldest) = kept.pods.pop_front()
            {
                kept.texts.remove(&oldest);
            }
        }
        let text = kept.texts.entry(key).or_default();
        text.push_str(line);
        text.push('\n');
    }

    /// What a pod printed so far; empty if nothing, or if that was too many pods ago.
    pub fn of(&self, namespace: &str, pod: &str) -> String {
        self.lock().texts.get(&(namespace.to_owned(), pod.to_owned())).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("no holder of the logs panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_pods_are_quoted_and_the_oldest_forgotten() {
        let logs = Logs::default();
        for nth in 0..=PODS_MAX {
            logs.add("a", &format!("pod-{nth}"), "one");
            logs.add("a", &format!("pod-{nth}"), "two");
        }
        assert_eq!(logs.of("a", "pod-0"), "");
        assert_eq!(logs.of("a", "pod-1"), "one\ntwo\n");
        assert_eq!(logs.of("b", "pod-1"), "");
        assert_eq!(logs.lock().texts.len(), PODS_MAX);
    }
}
