//! The mount helper as `mount(8)` sees it: exit codes, sentences, options, and nothing left behind.
use std::{fs, process::Command};

use fault::Fault;
use kit::nfs_control::{Ask, Change, Shown, Squash, Status};
use rustix::mount::UnmountFlags;

use crate::{bed::*, needs_fuse};

#[test]
fn a_refused_mount_says_why_and_exits_32() {
    needs_fuse!();
    let mut server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let refused = |server: &Server, path: &str, options: &str, code: i32, words: &str| {
        let output = server.helper(path, directory.path(), options);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(words), "{told}");
    };
    refused(&server, "/none", "hard", 32, "reason given by server: No such file or directory");
    refused(&server, "/export/none", "hard", 32, "reason given by server: No such file or directory");
    fs::write(server.export().join("file"), "").unwrap();
    refused(&server, "/export/file", "hard", 32, "reason given by server: Not a directory");
    refused(&server, "/export", "timeo=soon", 1, "timeo=soon");
    server.ask(Ask::Arm(Fault::named("nfs-soft-mount-eio").unwrap()));
    refused(&server, "/export", "hard", 32, "reason given by server: Input/output error");
    server.kill();
    refused(&server, "/export", "hard", 32, "Connection refused");
    server.come_back();
    let nowhere = server.helper("/export", &directory.path().join("none"), "hard");
    assert_eq!(nowhere.status.code(), Some(32));
    assert!(!fs::read_to_string("/proc/mounts").unwrap().contains(&directory.path().display().to_string()));
}

#[test]
fn a_mount_is_named_after_its_source_and_ends_with_its_unmount() {
    needs_fuse!();
    let server = Server::start();
    fs::create_dir_all(server.export().join("apps/repo")).unwrap();
    fs::write(server.export().join("apps/repo/a"), "a").unwrap();
    let mount = server.mount_path("/export/apps/repo", "ro,hard,nolock,vers=4.1,fsc");
    let table = fs::read_to_string("/proc/mounts").unwrap();
    let line = table.lines().find(|line| line.contains(&mount.path().display().to_string())).unwrap();
    assert!(line.starts_with("127.0.0.1:/export/apps/repo ") && line.contains(" ro,"), "{line}");
    assert_eq!(fs::read(mount.at("a")).unwrap(), b"a");
    assert_eq!(errno(fs::write(mount.at("b"), "b")), 30, "EROFS");
    assert_eq!(mount.daemons().len(), 1);
    assert_eq!(server.status().connections, 1);
    mount.unmount(UnmountFlags::empty());
    within("the daemon to end", || mount.daemons().is_empty().then_some(()));
    within("the connection to end", || (server.status().connections == 0).then_some(()));
}

#[test]
fn a_link_named_mount_nfs_is_the_helper_that_mount_calls() {
    needs_fuse!();
    let server = Server::start();
    let (bin, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let link = bin.path().join("mount.nfs");
    std::os::unix::fs::symlink(KIT, &link).unwrap();
    let source = "127.0.0.1:/export";
    // As mount(8) hands on what the kubelet gave it; no port: 2049 must be tried, and nobody is there.
    let called = output(Command::new(&link).arg(source).arg(target.path()).args(["-o", "rw,retry=0"]));
    if called.status.success() {
        // Somebody serves /export at 2049 on this machine: that is theirs.
        rustix::mount::unmount(target.path(), UnmountFlags::empty()).unwrap();
    } else {
        let told = String::from_utf8_lossy(&called.stderr).into_owned();
        assert!(told.starts_with("mount.nfs: "), "{told}");
    }
    drop(server);
}

#[test]
fn the_control_program_says_what_the_socket_does() {
    needs_fuse!();
    let server = Server::start();
    let told = |words: &[&str]| -> Result<Status, String> {
        let output = server.ctl(words);
        if output.status.success() {
            Ok(serde_json::from_slice(&output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    };
    assert_eq!(told(&["show", "empty"]).unwrap().switches.shown, Shown::Empty);
    assert_eq!(told(&["squash", "568:1000"]).unwrap().switches.squash, Squash::All { uid: 568, gid: 1000 });
    assert_eq!(told(&["quota", "5"]).unwrap().switches.quota, Some(5));
    assert!(told(&["full", "edquot"]).unwrap().switches.full.is_some());
    assert!(told(&["read-only", "true"]).unwrap().switches.read_only);
    assert_eq!(told(&["renew"]).unwrap().fsid, 2);
    assert_eq!(told(&["arm", r#"{"fault":"nfs-no-space","quota":true}"#]).unwrap().faults.len(), 1);
    assert_eq!(told(&["arm", "nfs-stale-handle"]).unwrap().faults[1].name, "nfs-stale-handle");
    assert!(told(&["lift", "1"]).unwrap().faults[0].is_over);
    assert!(told(&["lift", "7"]).unwrap_err().contains("fault-7 is not armed"));
    assert!(told(&["arm", "store-slow"]).unwrap_err().contains("of the seam store"));
    let after = told(&["reset"]).unwrap();
    assert!(after.faults.iter().all(|fault| fault.is_over));
    assert_eq!((after.switches.generation, after.switches.quota), (1, None));
    assert_eq!(server.turn(Change::Show(Shown::Right)), told(&["status"]).unwrap());
}
