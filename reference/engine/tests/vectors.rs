//! The golden vectors: repositories that a real Kopia wrote, and what they must read as.
//!
//! The folder is named by `FIREDRILL_KOPIA_VECTORS`, by default `../shared/kopia-vectors` beside the
//! workspace. Without it the tests say so and pass; with it, matching nothing is a failure.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use engine::{
    Error, ErrorKind, Filter, Repository, Silent, Snapshot, VerifyOptions,
    blob::directory::{DirectoryStore, LocalFiles},
    context::Entropy,
    snapshot::{Entry, EntryKind},
    split::Splitter,
    tree::Path,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use support::{Bed, Noise, block_on};

fn folder() -> Option<PathBuf> {
    let default = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/kopia-vectors");
    let folder = std::env::var_os("FIREDRILL_KOPIA_VECTORS").map_or(default, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no folder {}", folder.display());
    None
}

/// Unpacks the files of a GNU tar archive below a directory.
fn unpack(archive: &FilePath, to: &FilePath) {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(archive).unwrap()).read_to_end(&mut bytes).unwrap();
    let text = |field: &[u8]| {
        String::from_utf8(field.iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
    };
    let (mut at, mut long) = (0, None::<String>);
    while at + 512 <= bytes.len() && bytes[at] != 0 {
        let header = &bytes[at..at + 512];
        let size = usize::from_str_radix(text(&header[124..136]).trim(), 8).unwrap();
        let name = if header[156] == b'L' {
            String::new()
        } else {
            long.take().unwrap_or_else(|| text(&header[..100]))
        };
        let path = to.join(name);
        match header[156] {
            b'L' => long = Some(text(&bytes[at + 512..at + 512 + size])),
            b'5' => fs::create_dir_all(path).unwrap(),
            b'0' | 0 => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, &bytes[at + 512..at + 512 + size]).unwrap();
            }
            other => panic!("a tar member of type {other}"),
        }
        at += 512 + size.div_ceil(512) * 512;
    }
}

struct Vector {
    name: String,
    folder: PathBuf,
    meta: Value,
}

impl Vector {
    fn all(folder: &FilePath) -> Vec<Self> {
        let mut names: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect();
        names.sort();
        names
            .into_iter()
            .map(|folder| {
                let name = folder.file_name().unwrap().to_string_lossy().into_owned();
                let meta = serde_json::from_slice(&fs::read(folder.join("meta.json")).unwrap()).unwrap();
                Self { name, folder, meta }
            })
            .collect()
    }
    fn is_damaged(&self) -> bool {
        self.name.as_str() >= "061"
    }
    fn open(&self, archive: &str, password: &str, to: &FilePath) -> Result<Repository, Error> {
        unpack(&self.folder.join(archive), to);
        let context = Bed::new(1).context("root", "nas");
        let files = Arc::new(LocalFiles::new(to.join("repo")));
        let store = block_on(DirectoryStore::open(files, Entropy::from_seed([0; 32])))?;
        block_on(Repository::open(Arc::new(store), password, context))
    }
    fn password(&self) -> &str {
        self.meta["password"].as_str().unwrap()
    }
    /// Expected entries by snapshot and path; of colliding names the one that a restore brings back counts.
    fn expected(&self) -> BTreeMap<(u64, String), Value> {
        let text = fs::read_to_string(self.folder.join("expected.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|value| {
                value["name_collision"] != true || !value.get("restored").is_some_and(Value::is_null)
            })
            .map(|value| {
                ((value["snap"].as_u64().unwrap(), value["path"].as_str().unwrap().to_owned()), value)
            })
            .collect()
    }
    fn snapshots(&self) -> Vec<(u64, String)> {
        let value: Value =
            serde_json::from_slice(&fs::read(self.folder.join("snapshots.json")).unwrap()).unwrap();
        let index = value["index"].as_array().unwrap();
        index
            .iter()
            .map(|entry| (entry["snap"].as_u64().unwrap(), entry["id"].as_str().unwrap().to_owned()))
            .collect()
    }
}

fn walk(repository: &Repository, snapshot: &Snapshot) -> Result<BTreeMap<String, Entry>, Error> {
    let mut found = BTreeMap::from([(".".to_owned(), snapshot.root.clone())]);
    let mut queue = if snapshot.root.kind == EntryKind::Directory { vec![Path::root()] } else { Vec::new() };
    while let Some(directory) = queue.pop() {
        for entry in block_on(repository.entries(snapshot, &directory))? {
            let path = directory.join(entry.name.as_bytes());
            if entry.kind == EntryKind::Directory {
                queue.push(path.clone());
            }
            found.insert(path.to_string(), entry);
        }
    }
    Ok(found)
}

/// The first difference between an entry and what is expected of it.
fn difference(repository: &Repository, entry: &Entry, expected: &Value) -> Result<Option<String>, Error> {
    let want = |field: &str| expected["stored"].get(field).unwrap_or(&expected[field]).clone();
    let kind = match entry.kind {
        EntryKind::File => "file",
        EntryKind::Directory => "dir",
        EntryKind::Symlink => "symlink",
        EntryKind::Unknown => "unknown",
    };
    let mode = if entry.mode == 0 { "0".to_owned() } else { format!("0{:o}", entry.mode) };
    let mut fields = vec![
        ("type", Value::from(kind)),
        ("mode", Value::from(mode)),
        ("uid", Value::from(entry.uid)),
        ("gid", Value::from(entry.gid)),
        ("mtime_ns", Value::from(entry.mtime.as_nanos() as i64)),
    ];
    // The vectors do not say which object a colliding name got.
    if expected["name_collision"] != true {
        fields.push(("obj", Value::from(entry.object.to_string())));
    }
    let bytes = if entry.kind == EntryKind::Directory {
        bytes::Bytes::default()
    } else {
        block_on(repository.read_file(entry))?
    };
    match entry.kind {
        EntryKind::File => {
            fields.push(("size", Value::from(entry.size)));
            let digest = Value::from(hex::encode(Sha256::digest(&bytes)));
            if expected.get("object_size").is_some() {
                fields.push(("object_size", Value::from(bytes.len())));
                fields.push(("object_sha256", digest));
            } else {
                fields.push(("sha256", digest));
            }
        }
        EntryKind::Symlink => {
            fields.push(("size", Value::from(entry.size)));
            let target = expected.get("target_b64").map_or_else(
                || expected["target"].as_str().unwrap_or_default().as_bytes().to_vec(),
                |text| STANDARD.decode(text.as_str().unwrap()).unwrap(),
            );
            if target != bytes {
                return Ok(Some("target".to_owned()));
            }
        }
        _ => {}
    }
    Ok(fields
        .into_iter()
        .find(|(field, found)| want(field) != *found)
        .map(|(field, found)| format!("{field}: {found} instead of {}", want(field))))
}

/// Reads one repository and compares it; the number of entries compared.
fn check(vector: &Vector, archive: &str) -> Result<usize, Error> {
    let directory = tempfile::tempdir().unwrap();
    let repository = vector.open(archive, vector.password(), directory.path())?;
    let expected = vector.expected();
    let found = block_on(repository.snapshots(&Filter::all()))?;
    let listed = vector.snapshots();
    let ids = |list: Vec<String>| list.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(
        ids(found.iter().map(|snapshot| snapshot.id.to_string()).collect()),
        ids(listed.iter().map(|(_, id)| id.clone()).collect()),
        "{}: snapshots",
        vector.name
    );
    let mut compared = 0;
    for (number, id) in listed {
        let snapshot = found.iter().find(|snapshot| snapshot.id.as_str() == id).unwrap();
        let entries = walk(&repository, snapshot)?;
        let paths: BTreeSet<&String> =
            expected.keys().filter(|(snap, _)| *snap == number).map(|(_, path)| path).collect();
        assert_eq!(
            entries.keys().collect::<BTreeSet<_>>(),
            paths,
            "{}: paths of snapshot {number}",
            vector.name
        );
        for (path, entry) in &entries {
            let difference = difference(&repository, entry, &expected[&(number, path.clone())])?;
            assert_eq!(difference, None, "{}: {path} of snapshot {number}", vector.name);
            compared += 1;
        }
    }
    // Everything also passes our own verification.
    let report = block_on(repository.verify(&VerifyOptions::default(), &Silent))?;
    assert!(report.is_whole(), "{}: {:?}", vector.name, report.damages);
    Ok(compared)
}

#[test]
fn vectors_read_back_as_expected() {
    let Some(folder) = folder() else { return };
    let vectors: Vec<Vector> =
        Vector::all(&folder).into_iter().filter(|vector| !vector.is_damaged()).collect();
    let (mut passed, mut entries, mut skipped) = (0, 0, Vec::new());
    for vector in &vectors {
        let archives = ["repo.tar.gz", "repo-synced.tar.gz"];
        let archives = archives.into_iter().filter(|archive| vector.folder.join(archive).exists());
        match archives.map(|archive| check(vector, archive)).collect::<Result<Vec<_>, _>>() {
            Ok(compared) => {
                passed += 1;
                entries += compared.iter().sum::<usize>();
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                skipped.push(format!("{}: {error}", vector.name));
            }
            Err(error) => panic!("{}: {error} ({error:?})", vector.name),
        }
    }
    println!(
        "{passed} of {} undamaged vectors read back as expected ({entries} entries compared)",
        vectors.len()
    );
    for reason in &skipped {
        println!("  not read: {reason}");
    }
    assert!(passed > 0, "the folder is there and no vector matched");
    // What this engine reads today; a lower number is a regression.
    assert!(passed >= 30, "only {passed}");
}

/// Damaged repositories whose damage lies in packs: verification names what did not survive, and no more.
#[test]
fn vectors_with_damage_are_named_exactly() {
    let Some(folder) = folder() else { return };
    let wanted = ["061", "062", "063", "070", "071", "075", "076"];
    let mut checked = 0;
    for vector in Vector::all(&folder)
        .iter()
        .filter(|vector| wanted.iter().any(|number| vector.name.starts_with(number)))
    {
        let directory = tempfile::tempdir().unwrap();
        let repository = vector.open("repo.tar.gz", vector.password(), directory.path()).unwrap();
        let report = block_on(repository.verify(&VerifyOptions::default(), &Silent)).unwrap();
        let numbers: BTreeMap<String, u64> =
            vector.snapshots().into_iter().map(|(number, id)| (id, number)).collect();
        let named: BTreeSet<(u64, String)> = report
            .damages
            .iter()
            .map(|damage| (numbers[damage.snapshot.as_str()], damage.path.to_string()))
            .collect();
        let lost: BTreeSet<(u64, String)> = vector
            .expected()
            .into_iter()
            .filter(|(_, value)| value["survives"] == false)
            .map(|(key, _)| key)
            .collect();
        // A directory that cannot be read is named for everything below it.
        let is_covered = |(number, path): &(u64, String)| {
            let ancestors = path.match_indices('/').map(|(at, _)| &path[..at]).chain([path.as_str()]);
            ancestors.into_iter().any(|ancestor| named.contains(&(*number, ancestor.to_owned())))
        };
        for key in &lost {
            assert!(is_covered(key), "{}: {key:?} is lost and not named", vector.name);
        }
        for key in &named {
            // Kopia restores the empty shell of such a directory and calls that surviving.
            let is_parent =
                |(number, path): &(u64, String)| *number == key.0 && path.starts_with(&format!("{}/", key.1));
            assert!(
                lost.contains(key) || lost.iter().any(is_parent),
                "{}: {key:?} is named and not lost",
                vector.name
            );
        }
        println!("{}: {} named, {} lost", vector.name, named.len(), lost.len());
        checked += 1;
    }
    assert_eq!(checked, wanted.len());
}

/// Damage to what everything depends on has its own kinds of errors.
#[test]
fn vectors_that_cannot_be_opened_say_why() {
    let Some(folder) = folder() else { return };
    let vectors = Vector::all(&folder);
    for (number, wrong, expected) in [
        ("065", false, ErrorKind::CorruptIndex),
        ("066", false, ErrorKind::CorruptIndex),
        ("067", true, ErrorKind::WrongPassword),
        ("068", false, ErrorKind::WrongPassword),
        ("069", false, ErrorKind::CorruptFormat),
        ("073", false, ErrorKind::Store(engine::store::ErrorKind::Misconfigured)),
    ] {
        let vector = vectors.iter().find(|vector| vector.name.starts_with(number)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let password = if wrong { "not the password" } else { vector.password() };
        let error = vector.open("repo.tar.gz", password, directory.path()).map(drop).unwrap_err();
        assert_eq!(error.kind(), expected, "{}: {error}", vector.name);
    }
    // Losing a snapshot's manifest or directory breaks its listing, not the opening.
    for (number, expected) in [("064", ErrorKind::MissingContent), ("072", ErrorKind::CorruptContent)] {
        let vector = vectors.iter().find(|vector| vector.name.starts_with(number)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let repository = vector.open("repo.tar.gz", vector.password(), directory.path()).unwrap();
        let error = block_on(repository.snapshots(&Filter::all())).unwrap_err();
        assert_eq!(error.kind(), expected, "{}: {error}", vector.name);
    }
}

fn part(part: &Value) -> Vec<u8> {
    const WORDS: &str = "the be to of and in that have it for not on with he as you do at this but his by from they we say her she or an will my one all would there their what so up out if about who get which go me when make can like time no just him know take into year good some could them";
    let length = part["length"].as_u64().unwrap() as usize;
    let mut noise = Noise(
        part["seed"]
            .as_str()
            .map_or(0, |seed| u64::from_str_radix(seed.trim_start_matches("0x"), 16).unwrap()),
    );
    let mut bytes = Vec::with_capacity(length + 16);
    match part["kind"].as_str().unwrap() {
        "zero" => bytes.resize(length, 0),
        "byte" => bytes.resize(length, part["value"].as_u64().unwrap() as u8),
        "random" => {
            while bytes.len() < length {
                bytes.extend_from_slice(&noise.next().to_le_bytes());
            }
        }
        "text" => {
            let words: Vec<&str> = WORDS.split(' ').collect();
            assert_eq!(words.len(), 64);
            for count in 1.. {
                if bytes.len() >= length {
                    break;
                }
                bytes.extend_from_slice(words[(noise.next() >> 58) as usize].as_bytes());
                bytes.push(if count % 12 == 0 { b'\n' } else { b' ' });
            }
        }
        other => panic!("{other}"),
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn vectors_of_splitters_cut_as_expected() {
    let Some(folder) = folder() else { return };
    let text = fs::read_to_string(folder.join("splitters.jsonl")).unwrap();
    let (mut passed, mut skipped, mut inputs) = (0, 0, BTreeMap::new());
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let name = value["splitter"].as_str().unwrap();
        let Ok(splitter) = Splitter::named(name) else {
            skipped += 1;
            continue;
        };
        let length = value["length"].as_u64().unwrap();
        // Kept for the next splitter only where they are small.
        let key = value["input"].to_string();
        let data = inputs.remove(&key).unwrap_or_else(|| {
            let data: Vec<u8> = value["input"].as_array().unwrap().iter().flat_map(part).collect();
            assert_eq!(hex::encode(Sha256::digest(&data)), value["sha256"].as_str().unwrap());
            data
        });
        let cuts: Vec<u64> = splitter.split(&data).iter().map(|chunk| chunk.len() as u64).collect();
        let expected: Vec<u64> =
            value["segments"].as_array().unwrap().iter().map(|length| length.as_u64().unwrap()).collect();
        assert_eq!(cuts, expected, "{name} on {}", value["input"]);
        if length < 1 << 20 {
            inputs.insert(key, data);
        }
        passed += 1;
    }
    println!(
        "{passed} of {} splitter lines cut as expected; {skipped} use splitters that are not built in",
        passed + skipped
    );
    assert!(passed > 300, "only {passed}");
}
