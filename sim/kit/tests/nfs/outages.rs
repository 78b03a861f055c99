//! Servers that go away: hard mounts wait and go on, soft ones give EIO, and no write is lost in silence.
use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    time::{Duration, Instant},
};

use fault::Fault;
use kit::nfs_control::Ask;
use rustix::mount::UnmountFlags;

use crate::{bed::*, needs_fuse};

const EIO: i32 = 5;

#[test]
fn a_hard_mount_hangs_while_the_server_is_dead_and_goes_on_where_it_was() {
    needs_fuse!();
    let mut server = Server::start();
    let mount = server.mount("hard,timeo=5");
    fs::create_dir(mount.at("d")).unwrap();
    let path = mount.at("d/file");
    let writing = run(move || {
        let mut file = File::create(path)?;
        for block in 0..400_u32 {
            file.write_all(&vec![block as u8; 64 << 10])?;
            std::thread::sleep(Duration::from_millis(2));
        }
        file.sync_all()
    });
    within("the writing to begin", || {
        fs::metadata(server.export().join("d/file")).ok().filter(|file| file.len() > 1 << 20)
    });
    server.kill();
    assert!(writing.hangs_for(Duration::from_secs(3)));
    let path = mount.at("d");
    let listing = run(move || fs::read_dir(path).map(Iterator::count));
    assert!(listing.hangs_for(Duration::from_secs(1)));
    server.come_back();
    writing.ends().unwrap();
    assert_eq!(listing.ends().unwrap(), 1);
    let found = fs::read(server.export().join("d/file")).unwrap();
    assert_eq!(found.len(), 400 << 16);
    assert!(
        found
            .chunks(64 << 10)
            .enumerate()
            .all(|(block, bytes)| bytes.iter().all(|byte| *byte == block as u8))
    );
}

#[test]
fn a_soft_mount_gives_eio_after_its_patience_and_is_good_again_after() {
    needs_fuse!();
    let mut server = Server::start();
    let mount = server.mount("soft,timeo=5,retrans=1,actimeo=0");
    fs::write(mount.at("a"), "a").unwrap();
    server.kill();
    let begin = Instant::now();
    assert_eq!(errno(fs::read(mount.at("a"))), EIO);
    let waited = begin.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(6)).contains(&waited), "{waited:?}");
    assert_eq!(errno(fs::write(mount.at("b"), "b")), EIO);
    server.come_back();
    assert_eq!(fs::read(mount.at("a")).unwrap(), b"a");
    fs::write(mount.at("b"), "b").unwrap();
}

#[test]
fn a_soft_mount_tells_of_a_write_that_was_lost() {
    needs_fuse!();
    let mut server = Server::start();
    let mount = server.mount("soft,timeo=5,retrans=1");
    let _quiet = quiet();
    let (one, other) =
        (File::create(mount.at("a")).unwrap(), File::options().write(true).open(mount.at("a")).unwrap());
    one.write_all_at(b"written and not on the disk", 0).unwrap();
    server.kill();
    assert_eq!(errno(one.sync_all()), EIO);
    server.come_back();
    assert_eq!(errno(other.sync_all()), EIO, "everybody who has it open is told, once");
    one.sync_all().unwrap();
    other.sync_all().unwrap();
}

#[test]
fn what_a_restarted_server_forgot_is_written_again() {
    needs_fuse!();
    let mut server = Server::start();
    let mount = server.mount("hard,timeo=5");
    let file = File::create(mount.at("a")).unwrap();
    file.write_all_at(&vec![7; 300_000], 0).unwrap();
    file.write_all_at(&[8; 10], 100).unwrap();
    server.kill();
    // The power failed: what was only in the server's memory is gone.
    File::options().write(true).open(server.export().join("a")).unwrap().set_len(0).unwrap();
    server.come_back();
    file.sync_all().unwrap();
    let mut expected = vec![7; 300_000];
    expected[100..110].fill(8);
    assert!(fs::read(server.export().join("a")).unwrap() == expected);
}

#[test]
fn a_paused_server_is_waited_for_and_asked_once() {
    needs_fuse!();
    let server = Server::start();
    let mount = server.mount("hard,timeo=5,actimeo=0");
    fs::write(mount.at("a"), "a").unwrap();
    server.pause(true);
    let path = mount.at("a");
    let removing = run(move || fs::remove_file(path));
    // Longer than the tests of the line take.
    assert!(removing.hangs_for(Duration::from_secs(10)));
    server.pause(false);
    removing.ends().unwrap();
    let calls = &server.status().calls["remove"];
    assert_eq!((calls.good, calls.refused.len()), (1, 0));
}

#[test]
fn a_hung_process_is_freed_by_a_forced_unmount_and_the_daemon_ends() {
    needs_fuse!();
    let mut server = Server::start();
    let mount = server.mount("hard,timeo=5,actimeo=0");
    fs::write(mount.at("a"), "a").unwrap();
    server.kill();
    let path = mount.at("a");
    let reading = run(move || fs::read(path));
    assert!(reading.hangs_for(Duration::from_secs(1)));
    mount.unmount(UnmountFlags::FORCE | UnmountFlags::DETACH);
    reading.ends().unwrap_err();
    within("the daemon to end", || mount.daemons().is_empty().then_some(()));
    assert!(!mount.is_mounted());
}

#[test]
fn an_armed_hang_holds_calls_until_the_lift() {
    needs_fuse!();
    let server = Server::start();
    let mount = server.mount("hard,timeo=5,actimeo=0");
    fs::write(mount.at("a"), "a").unwrap();
    server.ask(Ask::Arm(Fault::named("nfs-hard-mount-hang").unwrap()));
    let path = mount.at("a");
    let reading = run(move || fs::read(path));
    // A slow server's line is tested and found good; the call must not be done twice.
    assert!(reading.hangs_for(Duration::from_secs(8)));
    let armed = &server.ask(Ask::Lift(1)).faults[0];
    assert!(armed.firings >= 1 && armed.is_over);
    assert_eq!(reading.ends().unwrap(), b"a");
}
