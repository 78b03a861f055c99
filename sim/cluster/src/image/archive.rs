//! An image of a few files, without Docker: one layer, written in the format of `docker save`.
//!
//! Times are zero, owners root, entries sorted: the id of the image is a function of what is in it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{Error, mark};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What lies at a path of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The bytes of a file of this machine.
    Path(PathBuf),
    /// A symbolic link to there.
    Link(String),
    /// A directory.
    Directory,
    /// Everything below a directory of this machine, with its modes and links; owners become root.
    Tree(PathBuf),
}

/// A path of an image and what lies there. Directories above it are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path inside the image, such as `/usr/bin/kit`.
    pub path: String,
    /// Permission bits; for trees they are those of the files.
    pub mode: u32,
    /// What lies there.
    pub content: Content,
}

impl File {
    /// A program of this machine at a path of the image.
    pub fn program(path: &str, from: impl Into<PathBuf>) -> Self {
        Self { path: path.to_owned(), mode: 0o755, content: Content::Path(from.into()) }
    }

    /// A text.
    pub fn text(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), mode: 0o644, content: Content::Bytes(text.as_bytes().to_vec()) }
    }

    /// A directory with a mode, such as 0o1777 for `/tmp`.
    pub fn directory(path: &str, mode: u32) -> Self {
        Self { path: path.to_owned(), mode, content: Content::Directory }
    }

    /// A symbolic link.
    pub fn link(path: &str, to: &str) -> Self {
        Self { path: path.to_owned(), mode: 0o777, content: Content::Link(to.to_owned()) }
    }

    /// A whole tree of this machine.
    pub fn tree(path: &str, from: impl Into<PathBuf>) -> Self {
        Self { path: path.to_owned(), mode: 0o755, content: Content::Tree(from.into()) }
    }
}

/// An image to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scratch {
    /// Name and tag.
    pub name: String,
    /// What is in it.
    pub files: Vec<File>,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// User, such as `65532:65532`; root where empty.
    pub user: String,
    /// Variables beside PATH.
    pub environment: BTreeMap<String, String>,
    /// Labels; the mark of this program's images is added.
    pub labels: BTreeMap<String, String>,
}

/// Writes the archive of an image, and gives the image's id.
///
/// # Errors
/// A file of this machine that cannot be read, or an archive that cannot be written.
/// # Guarantees
/// The archive is complete or not there: it is written beside its place and renamed.
pub fn from_scratch(image: &Scratch, archive: &Path) -> Result<String, Error> {
    let layer = archive.with_extension("layer");
    let diff = write_layer(&image.files, &layer)?;
    let mut environment = vec![PATH.to_owned()];
    environment.extend(image.environment.iter().map(|(name, value)| format!("{name}={value}")));
    let mut labels = BTreeMap::from([(mark::RECIPE.to_owned(), String::new())]);
    labels.extend(image.labels.clone());
    let mut config = json!({"Env": environment, "Labels": labels});
    if !image.entrypoint.is_empty() {
        config["Entrypoint"] = json!(image.entrypoint);
    }
    if !image.user.is_empty() {
        config["User"] = json!(image.user);
    }
    let config = json!({
        "architecture": architecture(), "os": "linux", "created": "1970-01-01T00:00:00Z", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff}")]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "firedrill"}],
    })
    .to_string();
    let id = hex::encode(Sha256::digest(config.as_bytes()));
    let manifest = json!([{"Config": format!("{id}.json"), "RepoTags": [image.name], "Layers": [format!("{diff}.tar")]}]);
    let partial = archive.with_extension("partial");
    let write = || -> io::Result<()> {
        let mut tar = tar::Builder::new(io::BufWriter::new(fs::File::create(&partial)?));
        append(&mut tar, &format!("{id}.json"), config.len() as u64, config.as_bytes())?;
        let bytes = fs::File::open(&layer)?;
        append(&mut tar, &format!("{diff}.tar"), bytes.metadata()?.len(), bytes)?;
        let manifest = manifest.to_string();
        append(&mut tar, "manifest.json", manifest.len() as u64, manifest.as_bytes())?;
        tar.into_inner()?.flush()?;
        fs::remove_file(&layer)?;
        fs::rename(&partial, archive)
    };
    write().map_err(Error::file("write", archive))?;
    Ok(format!("sha256:{id}"))
}

/// The name by which images call this machine's processor.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, length: u64, bytes: impl Read) -> io::Result<()> {
    let mut header = plain(tar::EntryType::Regular, 0o644);
    header.set_size(length);
    tar.append_data(&mut header, name, bytes)
}

fn plain(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

/// Writes the layer and gives its digest.
fn write_layer(files: &[File], layer: &Path) -> Result<String, Error> {
    let mut entries = BTreeMap::new();
    for file in files {
        spread(file, &mut entries)?;
    }
    for path in entries.keys().cloned().collect::<Vec<_>>() {
        for above in Path::new(&path).ancestors().skip(1).filter(|above| *above != Path::new("")) {
            let above = above.to_string_lossy().into_owned();
            entries.entry(above).or_insert((0o755, Content::Directory));
        }
    }
    let output = fs::File::create(layer).map_err(Error::file("make", layer))?;
    let mut tar = tar::Builder::new(Hashing { output: io::BufWriter::new(output), digest: Sha256::new() });
    for (path, (mode, content)) in &entries {
        let appended = match content {
            Content::Bytes(bytes) => {
                let mut header = plain(tar::EntryType::Regular, *mode);
                header.set_size(bytes.len() as u64);
                tar.append_data(&mut header, path, bytes.as_slice())
            }
            Content::Path(from) => fs::File::open(from).and_then(|file| {
                let mut header = plain(tar::EntryType::Regular, *mode);
                header.set_size(file.metadata()?.len());
                tar.append_data(&mut header, path, file)
            }),
            Content::Link(to) => tar.append_link(&mut plain(tar::EntryType::Symlink, 0o777), path, to),
            Content::Directory | Content::Tree(_) => {
                tar.append_data(&mut plain(tar::EntryType::Directory, *mode), format!("{path}/"), io::empty())
            }
        };
        let culprit = if let Content::Path(from) = content { from.as_path() } else { layer };
        appended.map_err(Error::file("pack", culprit))?;
    }
    let mut written = tar.into_inner().map_err(Error::file("write", layer))?;
    written.output.flush().map_err(Error::file("write", layer))?;
    Ok(hex::encode(written.digest.finalize()))
}

type Entries = BTreeMap<String, (u32, Content)>;

/// Adds a file, or all that is below a tree, under names without a leading slash.
fn spread(file: &File, entries: &mut Entries) -> Result<(), Error> {
    let path = file.path.trim_matches('/').to_owned();
    let Content::Tree(from) = &file.content else {
        entries.insert(path, (file.mode, file.content.clone()));
        return Ok(());
    };
    for entry in fs::read_dir(from).map_err(Error::file("read", from))? {
        let entry = entry.map_err(Error::file("read", from))?;
        let (from, seen) = (entry.path(), entry.metadata().map_err(Error::file("look at", entry.path()))?);
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if path.is_empty() { name } else { format!("{path}/{name}") };
        let mode = std::os::unix::fs::PermissionsExt::mode(&seen.permissions()) & 0o7777;
        if seen.is_dir() {
            entries.insert(path.clone(), (mode, Content::Directory));
            spread(&File { path, mode, content: Content::Tree(from) }, entries)?;
        } else if seen.is_symlink() {
            let to = fs::read_link(&from).map_err(Error::file("read", &from))?;
            entries.insert(path, (0o777, Content::Link(to.to_string_lossy().into_owned())));
        } else if seen.is_file() {
            entries.insert(path, (mode, Content::Path(from)));
        }
    }
    Ok(())
}

struct Hashing<W> {
    output: W,
    digest: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(program: &Path) -> Scratch {
        Scratch {
            name: "kind.local/sample:1".to_owned(),
            files: vec![
                File::program("/usr/local/bin/sample", program),
                File::directory("/tmp", 0o1777),
                File::link("/bin", "usr/local/bin"),
                File::text("/etc/passwd", "root:x:0:0::/:\n"),
            ],
            entrypoint: vec!["sample".to_owned()],
            user: "65532:65532".to_owned(),
            ..Scratch::default()
        }
    }

    fn entries(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().to_string_lossy().into_owned(), bytes)
        });
        entries.collect()
    }

    #[test]
    fn the_same_files_give_the_same_archive_and_others_another() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("program");
        fs::write(&program, "#!").unwrap();
        let make = |name: &str| {
            let archive = place.path().join(name);
            let id = from_scratch(&sample(&program), &archive).unwrap();
            (id, fs::read(archive).unwrap())
        };
        let (first, second) = (make("a.tar"), make("b.tar"));
        assert_eq!(first, second);
        fs::write(&program, "#!/other").unwrap();
        assert_ne!(make("c.tar").0, first.0);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 4, "nothing but the archives is left");
    }

    #[test]
    fn an_archive_names_its_image_and_its_layer_is_what_the_config_says() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("program");
        fs::write(&program, "bytes").unwrap();
        let archive = place.path().join("a.tar");
        let id = from_scratch(&sample(&program), &archive).unwrap();
        let files = entries(&fs::read(&archive).unwrap());
        let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "kind.local/sample:1");
        let config = &files[manifest[0]["Config"].as_str().unwrap()];
        assert_eq!(id, format!("sha256:{}", hex::encode(Sha256::digest(config))));
        let layer = &files[manifest[0]["Layers"][0].as_str().unwrap()];
        let config: serde_json::Value = serde_json::from_slice(config).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex::encode(Sha256::digest(layer))));
        assert_eq!(config["config"]["User"], "65532:65532");
        let inside: Vec<_> = entries(layer).into_keys().collect();
        assert_eq!(
            inside,
            [
                "bin",
                "etc/",
                "etc/passwd",
                "tmp/",
                "usr/",
                "usr/local/",
                "usr/local/bin/",
                "usr/local/bin/sample"
            ]
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let place = tempfile::tempdir().unwrap();
        let error =
            from_scratch(&sample(Path::new("/no/such/program")), &place.path().join("a.tar")).unwrap_err();
        assert!(error.to_string().contains("/no/such/program"), "{error}");
    }
}
