//! The server's switches as a mount feels them: stale, wrong, full, squashed, read-only.
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown},
    process::Command,
};

use kit::nfs_control::{Ask, Change, Full, Shown, Squash};

use crate::{bed::*, needs_fuse};

const EACCES: i32 = 13;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const ESTALE: i32 = 116;
const EDQUOT: i32 = 122;

#[test]
fn handles_of_a_replaced_file_system_are_stale_and_new_mounts_good() {
    needs_fuse!();
    let server = Server::start();
    let old = server.mount("hard,actimeo=0");
    fs::write(old.at("a"), "a").unwrap();
    let open = File::open(old.at("a")).unwrap();
    server.turn(Change::Renew);
    for _ in 0..2 {
        assert_eq!(errno(fs::read(old.at("a"))), ESTALE);
        assert_eq!(errno(fs::write(old.at("b"), "b")), ESTALE);
        assert_eq!(errno(open.metadata()), ESTALE);
    }
    let new = server.mount("hard");
    assert_eq!(fs::read(new.at("a")).unwrap(), b"a");
    server.ask(Ask::Reset);
    assert_eq!(errno(fs::read(old.at("a"))), ESTALE, "a stale handle stays stale");
}

#[test]
fn handles_outlive_the_server_and_switches_too() {
    needs_fuse!();
    let mut server = Server::start();
    let mount = server.mount("hard,timeo=5,actimeo=0");
    fs::create_dir_all(mount.at("d/e")).unwrap();
    fs::write(mount.at("d/e/a"), "a").unwrap();
    let open = File::open(mount.at("d/e/a")).unwrap();
    server.turn(Change::ReadOnly(true));
    server.kill();
    fs::rename(server.export().join("d"), server.export().join("f")).unwrap();
    server.come_back();
    let mut text = [0];
    open.read_exact_at(&mut text, 0).unwrap();
    assert_eq!(text, *b"a", "found by its inode, under another path");
    assert_eq!(errno(fs::write(mount.at("b"), "b")), EROFS);
}

#[test]
fn a_wrong_export_hides_the_right_one_and_keeps_what_is_written_into_it() {
    needs_fuse!();
    let server = Server::start();
    let mount = server.mount("hard,actimeo=0");
    fs::write(mount.at("kopia.repository.f"), "right").unwrap();
    let open = File::open(mount.at("kopia.repository.f")).unwrap();
    for (which, text) in [(Shown::Empty, "empty"), (Shown::Other, "other")] {
        server.turn(Change::Show(which));
        assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 0);
        assert!(!mount.at("kopia.repository.f").exists());
        assert_eq!(errno(open.metadata()), ESTALE, "its file system is not there");
        fs::write(mount.at("stray"), text).unwrap();
    }
    server.turn(Change::Show(Shown::Right));
    assert_eq!(fs::read(mount.at("kopia.repository.f")).unwrap(), b"right");
    assert!(open.metadata().is_ok() && !mount.at("stray").exists());
    server.turn(Change::Show(Shown::Empty));
    assert_eq!(fs::read(mount.at("stray")).unwrap(), b"empty");
}

#[test]
fn a_directory_that_is_mounted_is_empty_while_the_export_is_and_back_after() {
    needs_fuse!();
    let server = Server::start();
    fs::create_dir_all(server.export().join("main/repo")).unwrap();
    fs::write(server.export().join("main/repo/a"), "a").unwrap();
    let old = server.mount_path("/export/main/repo", "hard,actimeo=0");
    let id = server.ask(Ask::Arm(fault::Fault::named("nfs-wrong-export").unwrap())).faults.len() as u64;
    assert_eq!(fs::read_dir(old.path()).unwrap().count(), 0);
    // As a mover's new pod mounts it.
    let new = server.mount_path("/export/main/repo", "hard,actimeo=0");
    assert_eq!(fs::read_dir(new.path()).unwrap().count(), 0);
    fs::write(new.at("stray"), "s").unwrap();
    assert!(server.ask(Ask::Lift(id)).faults[0].firings > 0);
    for mount in [old, new] {
        assert_eq!(fs::read(mount.at("a")).unwrap(), b"a");
        assert!(!mount.at("stray").exists());
    }
}

#[test]
fn a_full_export_refuses_bytes_and_lets_names_change() {
    needs_fuse!();
    let server = Server::start();
    let mount = server.mount("hard,actimeo=0");
    fs::write(mount.at("a"), vec![1; 80_000]).unwrap();
    assert_eq!(server.turn(Change::Quota(Some(100_000))).used, 80_000);
    assert_eq!(errno(fs::write(mount.at("b"), vec![1; 80_000])), EDQUOT);
    assert_eq!(fs::metadata(mount.at("b")).unwrap().len(), 0, "the file was made before the write failed");
    let free = rustix::fs::statvfs(mount.path()).unwrap();
    assert!(free.f_bavail * free.f_frsize <= 20_000 && free.f_blocks * free.f_frsize <= 100_000);
    fs::rename(mount.at("a"), mount.at("c")).unwrap();
    fs::remove_file(mount.at("c")).unwrap();
    fs::write(mount.at("b"), vec![1; 80_000]).unwrap();
    server.turn(Change::Quota(None));
    server.turn(Change::Full(Some(Full::Enospc)));
    assert_eq!(errno(fs::write(mount.at("d"), "x")), ENOSPC);
    fs::create_dir(mount.at("e")).unwrap();
    server.turn(Change::Full(None));
    fs::write(mount.at("d"), "x").unwrap();
    server.ask(Ask::Arm(fault::nfs::no_space::Spec { quota: true, ..Default::default() }.into()));
    assert_eq!(errno(fs::write(mount.at("f"), "x")), EDQUOT);
    let armed = &server.ask(Ask::Lift(1)).faults[0];
    assert_eq!((armed.name.as_str(), armed.firings > 0, armed.is_over), ("nfs-no-space", true, true));
    fs::write(mount.at("f"), "x").unwrap();
}

/// Runs a shell as this user and group with these further groups.
fn shell(uid: u32, gid: u32, groups: &[u32], script: &str) -> bool {
    let list = groups.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let groups = if list.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={list}") };
    let (uid, gid) = (format!("--reuid={uid}"), format!("--regid={gid}"));
    output(Command::new("setpriv").args([&uid, &gid, &groups, "sh", "-c", script])).status.success()
}

#[test]
fn users_are_mapped_and_permissions_checked_by_the_server() {
    needs_fuse!();
    let server = Server::start();
    let mount = server.mount("hard,actimeo=0");
    // Others must be able to reach the mount's own directory.
    for path in [mount.path(), mount.path().parent().unwrap()] {
        assert!(fs::metadata(path).unwrap().mode() & 0o001 != 0 || path == mount.path());
    }
    fs::write(mount.at("by-root"), "x").unwrap();
    fs::set_permissions(mount.at("by-root"), fs::Permissions::from_mode(0o640)).unwrap();
    chown(mount.at("by-root"), Some(0), Some(777)).unwrap();
    chown(mount.path(), Some(568), Some(568)).unwrap();
    fs::set_permissions(mount.path(), fs::Permissions::from_mode(0o751)).unwrap();
    let at = |name: &str| mount.at(name).display().to_string();
    assert!(shell(568, 568, &[], &format!("echo o > {}", at("o"))));
    assert_eq!(
        (fs::metadata(mount.at("o")).unwrap().uid(), fs::metadata(mount.at("o")).unwrap().gid()),
        (568, 568)
    );
    assert!(!shell(1000, 1000, &[], &format!("echo n > {}", at("n"))));
    assert!(!shell(1000, 1000, &[], &format!("cat {}", at("by-root"))));
    assert!(shell(1000, 1000, &[5, 777], &format!("cat {}", at("by-root"))), "by a further group");
    server.turn(Change::Squash(Squash::Root));
    assert_eq!(errno(fs::write(mount.at("r"), "r")), EACCES);
    assert_eq!(errno(fs::read(mount.at("by-root"))), EACCES);
    server.turn(Change::Squash(Squash::All { uid: 568, gid: 568 }));
    fs::write(mount.at("all"), "a").unwrap();
    assert_eq!(fs::metadata(server.export().join("all")).unwrap().uid(), 568);
    server.turn(Change::Squash(Squash::None));
    fs::write(mount.at("r"), "r").unwrap();
    assert_eq!(fs::metadata(server.export().join("r")).unwrap().uid(), 0);
}

#[test]
fn a_file_made_read_only_takes_what_its_writer_still_has_for_it() {
    needs_fuse!();
    let server = Server::start();
    let mount = server.mount("hard");
    fs::set_permissions(mount.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = mount.at("sealed").display().to_string();
    let script =
        format!("umask 0333; exec 3>{path}; chmod 0400 {path}; echo kept >&3; exec 3>&-; cat {path}");
    assert!(shell(568, 568, &[], &script));
    assert_eq!(fs::read(server.export().join("sealed")).unwrap(), b"kept\n");
}
