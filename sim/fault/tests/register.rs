//! The register's public face: counting, order, lifts, hangs, kills, determinism.
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fault::{Aim, Event, Fault, Register, Seam, Verdict, csi, nfs, process, store, tree};
use jiff::{SignedDuration, Timestamp};

fn put(register: &Register, class: &str) -> Verdict {
    register.at(Seam::Store, "volsync-src-app", "put", class).verdict
}

#[test]
fn points_are_numbered_whatever_is_armed() {
    let register = Register::new(1);
    let numbers: Vec<u64> =
        (0..3).map(|_| register.at(Seam::Store, "a", "put", "main/p").point.nth).collect();
    assert_eq!(numbers, [0, 1, 2]);
    register.arm(store::unavailable::Spec::default());
    let point = register.at(Seam::Store, "a", "put", "main/p").point;
    assert_eq!(point.to_string(), "store:a:put:main/p#3");
    assert_eq!(register.at(Seam::Store, "b", "put", "main/p").point.nth, 0);
}

#[test]
fn fires_within_its_aim_and_no_more() {
    let register = Register::new(1);
    let aim = Aim { class: "*/p".into(), skip: 1, times: Some(2), ..Aim::default() };
    let id = register.arm(store::unavailable::Spec { aim, ..Default::default() });
    let struck: Vec<bool> = ["main/p", "main/q", "main/p", "main/p", "main/p"]
        .map(|class| put(&register, class) != Verdict::Proceed)
        .to_vec();
    assert_eq!(struck, [false, false, true, true, false]);
    assert_eq!(register.firings(id), 2);
    assert_eq!(register.fired(id)[0].point.nth, 1);
    assert!(register.never_fired().is_empty());
}

#[test]
fn what_a_store_suffers_on_the_way_strikes_only_the_operations_that_can_suffer_it() {
    let told = |fault: Fault| {
        ["put", "get", "list", "stat", "delete"].map(|operation| {
            let register = Register::new(1);
            register.arm(fault.clone());
            match register.at(Seam::Store, "a", operation, "main/p").verdict {
                Verdict::Fail { code, .. } => code,
                other => other.to_string(),
            }
        })
    };
    let named = |name| told(Fault::named(name).unwrap());
    assert_eq!(named("store-reset"), ["ECONNRESET", "ECONNRESET", "ECONNRESET", "proceed", "proceed"]);
    assert_eq!(named("store-full"), ["507", "proceed", "proceed", "proceed", "proceed"]);
    assert_eq!(named("store-clock-skew"), ["403"; 5]);
    let a_little = store::clock_skew::Spec { by: SignedDuration::from_mins(-15), ..Default::default() };
    assert_eq!(told(a_little.into()), ["proceed"; 5]);
    let puts = store::reset::Spec { operation: "put".to_owned(), ..Default::default() };
    assert_eq!(told(puts.into())[..2], ["ECONNRESET", "proceed"]);
}

#[test]
fn lifting_ends_it_and_an_unfired_fault_is_told() {
    let register = Register::new(1);
    let id = register.arm(store::unavailable::Spec::default());
    assert_eq!(register.lift_named("store-unavailable"), 1);
    assert_eq!(register.lift_named("store-unavailable"), 0);
    assert_eq!(put(&register, "main/p"), Verdict::Proceed);
    assert_eq!(register.never_fired().len(), 1);
    assert_eq!(register.never_fired()[0].0, id);
}

#[test]
fn the_observer_sees_arming_firing_and_lift_in_order() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let register = Register::new(1);
    let sink = seen.clone();
    register.observe(Arc::new(move |event: &Event| {
        sink.lock().unwrap().push(serde_json::to_value(event).unwrap()["event"].as_str().unwrap().to_owned());
    }));
    let id = register.arm(Fault::named("nfs-soft-mount-eio").unwrap());
    register.at(Seam::Nfs, "a", "write", "nas");
    register.lift(id);
    register.restarted(Seam::Nfs);
    assert_eq!(*seen.lock().unwrap(), ["armed", "fired", "lifted", "restarted"]);
}

#[test]
fn a_hang_of_writes_lets_clients_mount_and_read() {
    let register = Register::new(1);
    register.arm(nfs::hard_mount_hang::Spec { writes_only: true, ..Default::default() });
    for (operation, expected) in [
        ("lookup", Verdict::Proceed),
        ("list", Verdict::Proceed),
        ("read", Verdict::Proceed),
        ("write", Verdict::Hang),
        ("create", Verdict::Hang),
        ("rename", Verdict::Hang),
    ] {
        assert_eq!(register.verdict(Seam::Nfs, "a", operation, "nas").1, expected, "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hang_ends_with_the_lift() {
    let register = Register::new(1);
    let id = register.arm(nfs::hard_mount_hang::Spec::default());
    let waiting = register.clone();
    let hung = tokio::spawn(async move { waiting.pass(Seam::Nfs, "a", "read", "nas").await.1 });
    tokio::time::sleep(Duration::from_hours(24)).await;
    assert!(!hung.is_finished());
    register.lift(id);
    assert_eq!(hung.await.unwrap(), Verdict::Proceed);
}

#[tokio::test(start_paused = true)]
async fn a_delay_takes_its_time() {
    let register = Register::new(1);
    register.arm(store::slow::Spec { by: SignedDuration::from_secs(5), ..Default::default() });
    let begin = tokio::time::Instant::now();
    assert_eq!(register.pass(Seam::Store, "a", "get", "main/p").await.1, Verdict::Proceed);
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_kill_reaches_who_runs_the_process_once() {
    let register = Register::new(1);
    let aim = Aim { actor: "volsync-src-app".into(), class: "*/p".into(), skip: 1, ..Aim::default() };
    let id = register.arm(process::sigterm::Spec { aim, ..Default::default() });
    let verdicts: Vec<Verdict> = (0..4).map(|_| put(&register, "main/p")).collect();
    assert_eq!(verdicts, [Verdict::Proceed, Verdict::Kill(15), Verdict::Proceed, Verdict::Proceed]);
    assert_eq!(register.killed("volsync-src-app").await, 15);
    let again = tokio::time::timeout(Duration::from_mins(1), register.killed("volsync-src-app")).await;
    assert!(again.is_err(), "one signal was sent");
    assert_eq!(register.firings(id), 1);
}

#[test]
fn the_same_seed_gives_the_same_chances() {
    let run = |seed| {
        let register = Register::new(seed);
        let aim = Aim { percent: Some(50), ..Aim::default() };
        register.arm(tree::read_error::Spec { aim });
        (0..64)
            .map(|_| register.at(Seam::Tree, "a", "open", "rbd/dense").verdict != Verdict::Proceed)
            .collect::<Vec<_>>()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
    let hits = run(7).into_iter().filter(|hit| *hit).count();
    assert!((16..48).contains(&hits), "{hits} of 64 is not half");
}

#[test]
fn a_fault_strikes_only_its_own_seam_and_operations() {
    let register = Register::new(1);
    register.arm(csi::delete_snapshot_fails::Spec::default());
    register.arm(tree::cephfs_write_back_zeroing::Spec::default());
    register.arm(tree::sparse_region_loss::Spec::default());
    register.arm(nfs::no_space::Spec::default());
    for (seam, operation, class, struck) in [
        (Seam::Csi, "CreateSnapshot", "s", false),
        (Seam::Csi, "DeleteSnapshot", "s", true),
        (Seam::Tree, "write-back", "rbd/sparse", false),
        (Seam::Tree, "write-back", "cephfs/dense", true),
        (Seam::Tree, "open", "cephfs/dense", false),
        (Seam::Nfs, "read", "nas", false),
        (Seam::Nfs, "write", "nas", true),
    ] {
        let verdict = register.at(seam, "a", operation, class).verdict;
        assert_eq!(verdict != Verdict::Proceed, struck, "{seam} {operation} {class}");
    }
}

#[test]
fn a_stale_handle_strikes_once() {
    let register = Register::new(1);
    register.arm(nfs::stale_handle::Spec::default());
    assert_eq!(register.at(Seam::Nfs, "a", "read", "nas").verdict, Verdict::Corrupt("fsid".into()));
    assert_eq!(register.at(Seam::Nfs, "a", "read", "nas").verdict, Verdict::Proceed);
}

#[test]
fn clocks_stand_off_for_the_aimed_actor_only() {
    let register = Register::new(1);
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let by = SignedDuration::from_mins(-10);
    let id = register.arm(fault::clock::jump::Spec { aim: Aim::actor("volsync-src-*"), by });
    assert_eq!(register.clock("controller", now), now);
    assert_eq!(register.clock("volsync-src-app", now), now + by);
    assert_eq!(register.clock("volsync-src-app", now), now + by);
    assert_eq!(register.firings(id), 1, "reading a clock often is one firing");
    register.lift(id);
    assert_eq!(register.clock("volsync-src-app", now), now);
    let spec = fault::clock::drift::Spec { parts_per_million: 500, from: now, ..Default::default() };
    register.arm(spec);
    let later = now + SignedDuration::from_hours(2000);
    assert_eq!(register.clock("x", later), later + SignedDuration::from_hours(1));
}
