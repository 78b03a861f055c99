//! Saboteurs that take the mover's place.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use contract::{Ending, Operation, Outcome, Request};
use engine::tree::WriteTree;

use super::tree::{Defect, LossyTree};
use crate::{
    actor::kubelet::process::Mover,
    volume::{Character, MountOptions, Volume},
};

fn line_of(request: &Request) -> String {
    format!("{:?} at {}", request.identity, request.location.describe())
}

/// Restores run truly, into a volume that nobody will ever see.
pub fn restore_elsewhere(honest: Mover) -> Mover {
    Arc::new(move |request, mut doors| {
        if request.operation() == Operation::Restore && doors.data.is_some() {
            let nowhere = Volume::new("nowhere", Character::Rbd, doors.now.clone());
            doors.data = Some(Arc::new(nowhere.mount(MountOptions::new("saboteur"))));
        }
        honest(request, doors)
    })
}

/// Restores run truly, through a tree that loses something and does not show it.
pub fn restore_through(honest: Mover, defect: Defect) -> Mover {
    Arc::new(move |request, mut doors| {
        if request.operation() == Operation::Restore
            && let Some(tree) = doors.data.take()
        {
            doors.data = Some(Arc::new(LossyTree::new(tree, defect)) as Arc<dyn WriteTree>);
        }
        honest(request, doors)
    })
}

/// After each backup but the first of an identity, removes the blobs that it added.
pub fn drop_newest(honest: Mover) -> Mover {
    let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    Arc::new(move |request, doors| {
        let (honest, seen) = (honest.clone(), seen.clone());
        Box::pin(async move {
            let (location, stores, line) =
                (request.location.clone(), doors.stores.clone(), line_of(&request));
            let is_backup = request.operation() == Operation::Backup;
            let is_first = !seen.lock().expect("no holder of the set panics").contains(&line);
            let before: BTreeSet<String> = match stores.open(&location).await {
                Ok(store) if is_backup && !is_first => {
                    store.list("").await.unwrap_or_default().into_iter().map(|blob| blob.id).collect()
                }
                _ => BTreeSet::new(),
            };
            let outcome = honest(request, doors).await;
            if is_backup && outcome.is_success() {
                seen.lock().expect("no holder of the set panics").insert(line);
            }
            if !before.is_empty()
                && let Ok(store) = stores.open(&location).await
            {
                for blob in store.list("").await.unwrap_or_default() {
                    if !before.contains(&blob.id) && store.delete(&blob.id).await.is_err() {
                        break;
                    }
                }
            }
            outcome
        })
    })
}

/// Answers every backup but the first of an identity with the first one's outcome, and does nothing.
pub fn phantom(honest: Mover) -> Mover {
    let first: Arc<Mutex<BTreeMap<String, Outcome>>> = Arc::default();
    Arc::new(move |request, doors| {
        let (honest, first) = (honest.clone(), first.clone());
        Box::pin(async move {
            if request.operation() != Operation::Backup {
                return honest(request, doors).await;
            }
            let line = line_of(&request);
            let known = first.lock().expect("no holder of the map panics").get(&line).cloned();
            if let Some(mut outcome) = known {
                if let Some(snapshot) = &mut outcome.snapshot {
                    snapshot.start = (doors.now)();
                }
                (doors.log)("INFO: Snapshot created successfully");
                return outcome;
            }
            let outcome = honest(request, doors).await;
            if outcome.is_success() && outcome.snapshot.is_some() {
                first.lock().expect("no holder of the map panics").insert(line, outcome.clone());
            }
            outcome
        })
    })
}

/// Panics in every backup but the first of an identity.
pub fn panic_later(honest: Mover) -> Mover {
    let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    Arc::new(move |request, doors| {
        let is_backup = request.operation() == Operation::Backup;
        let is_first = seen.lock().expect("no holder of the set panics").insert(line_of(&request));
        let running = honest(request, doors);
        Box::pin(async move {
            assert!(is_first || !is_backup, "a saboteur cannot do this twice");
            running.await
        })
    })
}

/// Ends every failed run with a made-up success.
pub fn swallow(honest: Mover) -> Mover {
    Arc::new(move |request, doors| {
        let honest = honest.clone();
        Box::pin(async move {
            let (operation, identity, now) =
                (request.operation(), request.identity.clone(), doors.now.clone());
            let truth = honest(request, doors).await;
            if truth.is_success() {
                return truth;
            }
            let ending = match operation {
                Operation::Backup => Ending::BackedUp,
                Operation::Restore => Ending::Restored,
                Operation::Maintenance => Ending::Maintained {
                    owner: format!("{}@{}", identity.username, identity.hostname),
                    taken_from: None,
                },
            };
            let mut lie = Outcome::success(operation, ending);
            lie.repository = truth.repository;
            lie.snapshot = Some(contract::outcome::Snapshot {
                id: "0123456789abcdef0123456789abcdef".to_owned(),
                identity,
                start: now(),
                files: 1,
                bytes: 1,
            });
            lie
        })
    })
}
