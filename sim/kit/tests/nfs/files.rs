//! What a backup needs of a file system holds over NFS: attributes, links, durability, listings, many at once.
use std::{
    fs::{self, File, FileTimes, OpenOptions, Permissions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink},
    time::{Duration, SystemTime},
};

use crate::{bed::*, needs_fuse};

fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[test]
fn attributes_and_links_are_real() {
    needs_fuse!();
    let server = Server::start();
    let mount = server.mount("hard,actimeo=0");
    fs::write(mount.at("file"), "hello").unwrap();
    fs::set_permissions(mount.at("file"), Permissions::from_mode(0o4751)).unwrap();
    chown(mount.at("file"), Some(568), Some(1000)).unwrap();
    let when = SystemTime::UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789);
    File::options()
        .write(true)
        .open(mount.at("file"))
        .unwrap()
        .set_times(FileTimes::new().set_modified(when))
        .unwrap();
    fs::hard_link(mount.at("file"), mount.at("twin")).unwrap();
    symlink("../some/where", mount.at("link")).unwrap();
    fs::create_dir_all(mount.at("deep/er")).unwrap();
    fs::rename(mount.at("twin"), mount.at("deep/er/twin")).unwrap();
    let pipe = output(std::process::Command::new("mkfifo").arg(mount.at("pipe")));
    assert!(pipe.status.success());
    for root in [mount.path().to_owned(), server.export()] {
        let file = fs::metadata(root.join("file")).unwrap();
        assert_eq!(
            (file.uid(), file.gid(), file.nlink(), file.len()),
            (568, 1000, 2, 5),
            "{}",
            root.display()
        );
        // The change of owner took the set-user bit away, as everywhere.
        assert_eq!(file.mode() & 0o7777, 0o751);
        assert_eq!(file.modified().unwrap(), when);
        assert_eq!(fs::metadata(root.join("deep/er/twin")).unwrap().ino(), file.ino());
        assert_eq!(fs::read_link(root.join("link")).unwrap().to_str().unwrap(), "../some/where");
        assert!(fs::symlink_metadata(root.join("pipe")).unwrap().file_type().is_fifo());
    }
    fs::remove_file(mount.at("file")).unwrap();
    assert_eq!(fs::read(mount.at("deep/er/twin")).unwrap(), b"hello");
    assert_eq!(errno(fs::remove_dir(mount.at("deep"))), 39, "ENOTEMPTY");
    assert_eq!(errno(fs::create_dir(mount.at("deep"))), 17, "EEXIST");
    assert_eq!(errno(fs::read(mount.at("none"))), 2, "ENOENT");
}

#[test]
fn contents_come_back_at_every_offset() {
    needs_fuse!();
    let server = Server::start();
    let mount = server.mount("hard,wsize=65536,rsize=65536");
    let mut expected = bytes(5_000_001, 1);
    let mut file = OpenOptions::new().create_new(true).read(true).write(true).open(mount.at("big")).unwrap();
    file.write_all(&expected).unwrap();
    file.write_all_at(&bytes(70_000, 2), 4_999_000).unwrap();
    expected.truncate(4_999_000);
    expected.extend(bytes(70_000, 2));
    file.sync_all().unwrap();
    assert_eq!(fs::read(server.export().join("big")).unwrap(), expected);
    file.set_len(1_000_000).unwrap();
    file.set_len(1_500_000).unwrap();
    expected.truncate(1_000_000);
    expected.resize(1_500_000, 0);
    file.rewind().unwrap();
    let mut found = Vec::new();
    file.read_to_end(&mut found).unwrap();
    assert!(found == expected, "cut, and grown with zeros");
    let mut part = vec![0; 4096];
    assert_eq!(file.read_at(&mut part, 1_499_990).unwrap(), 10);
    assert_eq!(file.read_at(&mut part, 2_000_000).unwrap(), 0);
    assert_eq!(
        errno(OpenOptions::new().create_new(true).write(true).open(mount.at("big"))),
        17,
        "exclusive creation"
    );
}

/// As Kopia's filesystem repositories are written: temporary file, fsync, rename, in directories beside each other.
#[test]
fn many_writers_with_fsync_and_rename_leave_exactly_what_they_wrote() {
    needs_fuse!();
    let server = Server::start();
    let (one, other) = (server.mount("hard"), server.mount("hard"));
    let workers: Vec<_> = (0..8_u64)
        .map(|worker| {
            let root = if worker % 2 == 0 { one.path().to_owned() } else { other.path().to_owned() };
            run(move || {
                for number in 0..40_u64 {
                    let directory = root.join(format!("p/{:03x}", number % 7));
                    fs::create_dir_all(&directory).unwrap();
                    let draft = directory.join(format!("{worker}-{number}.tmp"));
                    let mut file = File::create(&draft).unwrap();
                    file.write_all(&bytes(1000 + number as usize * 997, worker * 1000 + number)).unwrap();
                    file.sync_all().unwrap();
                    drop(file);
                    fs::rename(&draft, directory.join(format!("{worker}-{number}.f"))).unwrap();
                }
            })
        })
        .collect();
    workers.into_iter().for_each(Running::ends);
    let mut seen = 0;
    for directory in fs::read_dir(one.at("p")).unwrap() {
        for file in fs::read_dir(directory.unwrap().path()).unwrap() {
            let name = file.unwrap().path();
            let stem = name.file_stem().unwrap().to_str().unwrap();
            assert_eq!(name.extension().unwrap(), "f", "no draft is left: {}", name.display());
            let (worker, number) = stem.split_once('-').unwrap();
            let (worker, number): (u64, u64) = (worker.parse().unwrap(), number.parse().unwrap());
            assert_eq!(fs::read(&name).unwrap(), bytes(1000 + number as usize * 997, worker * 1000 + number));
            seen += 1;
        }
    }
    assert_eq!(seen, 8 * 40);
}

#[test]
fn a_large_directory_is_listed_whole_while_it_shrinks() {
    needs_fuse!();
    let server = Server::start();
    for number in 0..6000 {
        fs::write(server.export().join(format!("file-with-a-rather-long-name-{number:05}")), "").unwrap();
    }
    let mount = server.mount("hard");
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 6000);
    // Each is removed as it is seen: none may be skipped.
    for entry in fs::read_dir(mount.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(fs::read_dir(server.export()).unwrap().count(), 0);
}

#[test]
fn a_file_removed_or_replaced_while_open_stays_readable_and_leaves_nothing() {
    needs_fuse!();
    let server = Server::start();
    let mount = server.mount("hard,actimeo=0");
    for is_replaced in [false, true] {
        fs::write(mount.at("file"), "old").unwrap();
        let open = File::options().read(true).write(true).open(mount.at("file")).unwrap();
        if is_replaced {
            fs::write(mount.at("draft"), "new").unwrap();
            fs::rename(mount.at("draft"), mount.at("file")).unwrap();
            assert_eq!(fs::read(mount.at("file")).unwrap(), b"new");
        } else {
            fs::remove_file(mount.at("file")).unwrap();
            assert!(!mount.at("file").exists());
        }
        let hidden = |name: &std::ffi::OsString| name.to_string_lossy().starts_with(".nfs");
        let names = || fs::read_dir(server.export()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names().filter(hidden).count(), 1);
        let mut text = vec![0; 3];
        open.read_exact_at(&mut text, 0).unwrap();
        assert_eq!(text, b"old");
        open.write_all_at(b"OLD", 0).unwrap();
        open.sync_all().unwrap();
        drop(open);
        within("the hidden file to go", || (names().filter(hidden).count() == 0).then_some(()));
    }
}

#[test]
fn a_reader_that_opens_after_a_close_sees_what_was_closed() {
    needs_fuse!();
    let server = Server::start();
    let (writer, reader) = (server.mount("hard"), server.mount("hard"));
    for round in 0..20 {
        let text = format!("round {round} {}", "x".repeat(round * 100));
        fs::write(writer.at("shared"), &text).unwrap();
        assert_eq!(fs::read_to_string(reader.at("shared")).unwrap(), text);
    }
}
