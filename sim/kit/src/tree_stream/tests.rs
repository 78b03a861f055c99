//! What was written is read; what was cut, altered or given up is refused.
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn entry(path: &[u8], node: Node) -> Entry {
    let xattrs =
        BTreeMap::from([(b"user.k".to_vec(), vec![0, 255, 10]), (b"user.\xff".to_vec(), Vec::new())]);
    let mtime = Time { seconds: -5, nanoseconds: 999_999_999 };
    Entry {
        path: Raw::new(path),
        node,
        attributes: Attributes { mode: 0o4755, uid: 1, gid: u32::MAX, mtime, xattrs },
    }
}

fn sample() -> Vec<(Item, Vec<u8>)> {
    let file = Node::File { size: 100, extents: vec![(3, 4).into(), (90, 10).into()] };
    vec![
        (Item::Put(entry(b"", Node::Directory)), Vec::new()),
        (Item::Put(entry(b"a\xff\nb", file)), b"{\"end\"\n{\"put\"}"[..14].to_vec()),
        (Item::Put(entry(b"link", Node::Symlink { target: Raw::new(*b"../\xfe") })), Vec::new()),
        (Item::Put(entry(b"hard", Node::HardLink { to: Raw::new(*b"a\xff\nb") })), Vec::new()),
        (Item::Remove(Raw::from("gone/away")), Vec::new()),
        (Item::Put(entry(b"dev", Node::BlockDevice { major: 8, minor: 1 })), Vec::new()),
    ]
}

fn written(items: &[(Item, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Scope::Changes).unwrap();
    for (item, data) in items {
        match item {
            Item::Put(entry) => writer.put(entry, &data[..]).unwrap(),
            Item::Remove(path) => writer.remove(path.clone()).unwrap(),
        }
    }
    writer.finish().unwrap();
    out
}

fn read(stream: &[u8]) -> Result<Vec<(Item, Vec<u8>)>, Error> {
    let mut reader = Reader::new(stream)?;
    assert_eq!(reader.scope(), Scope::Changes);
    let mut items = Vec::new();
    while let Some(item) = reader.next()? {
        let mut data = Vec::new();
        if let Item::Put(entry) = &item {
            data = reader.extents(&entry.node)?.into_iter().flat_map(|(_, bytes)| bytes).collect();
        }
        items.push((item, data));
    }
    Ok(items)
}

#[test]
fn what_was_written_is_read() {
    let items = sample();
    assert_eq!(read(&written(&items)).unwrap(), items);
}

#[test]
fn data_that_is_not_read_is_skipped() {
    let stream = written(&sample());
    let mut reader = Reader::new(&stream[..]).unwrap();
    let mut count = 0;
    while reader.next().unwrap().is_some() {
        count += 1;
    }
    assert_eq!((count, reader.summary().unwrap().bytes), (6, 14));
}

#[test]
fn every_cut_is_seen() {
    let stream = written(&sample());
    for length in 0..stream.len() {
        let error = read(&stream[..length]).expect_err("a shorter stream is no stream");
        assert!(matches!(error, Error::CutOff { .. }), "cut at {length}: {error}");
    }
}

#[test]
fn every_flipped_bit_is_seen() {
    let stream = written(&sample());
    for at in 0..stream.len() - 1 {
        let mut altered = stream.clone();
        altered[at] ^= 1;
        // Flips in the scope's name or the tail's own text are errors too: nothing is ignored.
        assert!(
            std::panic::catch_unwind(|| read(&altered)).is_ok_and(|result| result.is_err()),
            "flip at {at}"
        );
    }
}

#[test]
fn a_writer_that_gives_up_is_heard() {
    let mut out = Vec::new();
    let writer = Writer::new(&mut out, Scope::Changes).unwrap();
    writer.fail("no such directory: /x").unwrap();
    assert_eq!(
        read(&out).unwrap_err().to_string(),
        "the other end could not send the whole tree: no such directory: /x"
    );
}

#[test]
fn a_file_that_shrinks_is_seen() {
    let mut writer = Writer::new(Vec::new(), Scope::Whole).unwrap();
    let file = Node::File { size: 9, extents: vec![(0, 9).into()] };
    let error = writer.put(&entry(b"f", file), &b"short"[..]).unwrap_err();
    assert!(matches!(error, Error::Changed { expected: 9, found: 5, .. }), "{error}");
}

#[test]
fn unsound_entries_are_refused_on_both_ends() {
    let file = |size, extents: &[(u64, u64)]| Node::File {
        size,
        extents: extents.iter().copied().map(Extent::from).collect(),
    };
    for (path, node) in [
        (&b"/etc/passwd"[..], Node::Directory),
        (b"a/../../b", Node::Directory),
        (b"a//b", Node::Directory),
        (b"a\0b", Node::Directory),
        (b"", Node::Fifo),
        (b"f", file(5, &[(0, 6)])),
        (b"f", file(50, &[(0, 5), (5, 5)])),
        (b"f", file(50, &[(10, 5), (2, 1)])),
        (b"f", file(50, &[(10, 0)])),
        (b"f", file(50, &[(u64::MAX, 2)])),
        (b"h", Node::HardLink { to: Raw::from("h") }),
        (b"h", Node::HardLink { to: Raw::from("../h") }),
    ] {
        let unsound = entry(path, node);
        let mut writer = Writer::new(Vec::new(), Scope::Changes).unwrap();
        assert!(matches!(writer.put(&unsound, std::io::empty()), Err(Error::Unsound { .. })), "{unsound:?}");
        let mut stream = b"{\"firedrill-tree\":1,\"scope\":\"changes\"}\n".to_vec();
        stream.extend(serde_json::to_vec(&Line::Put(unsound.clone())).unwrap());
        stream.push(b'\n');
        assert!(matches!(read(&stream), Err(Error::Malformed { .. })), "{unsound:?}");
    }
    assert!(matches!(
        read(b"{\"firedrill-tree\":2,\"scope\":\"changes\"}\n"),
        Err(Error::Version { found: 2 })
    ));
    assert!(matches!(read(b"hello\n"), Err(Error::Malformed { at: 0, .. })));
}

proptest! {
    #[test]
    fn names_of_any_bytes_travel(names in proptest::collection::btree_set(
        proptest::collection::vec(proptest::num::u8::ANY.prop_filter("no slash, no NUL", |b| !matches!(b, 0 | b'/')), 1..20)
            .prop_filter("not a dot", |name| !matches!(&name[..], b"." | b"..")), 0..20)) {
        let items: Vec<_> =
            names.iter().map(|name| (Item::Put(entry(name, Node::Fifo)), Vec::new())).collect();
        prop_assert_eq!(read(&written(&items)).unwrap(), items);
    }
}
