//! Seeds and looks: what the recorded helper pods did to their claims.
//!
//! The scripts of the recordings run in a real shell, in a folder of the host that stands for the claim;
//! afterwards the claim's volume is made equal to the folder. So hard links, odd names and `touch -d` mean
//! exactly what they meant in the recorded pod.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use anyhow::{Result, ensure};
use engine::tree::{Kind, Path, ReadTree, WriteTree, local::LocalTree};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// The folders that stand for claims.
#[derive(Default)]
pub struct Host {
    folders: BTreeMap<String, TempDir>,
}

impl Host {
    /// Runs a recorded script on a claim and carries the result into its tree.
    pub fn run(&mut self, claim: &str, script: &str, mount: &dyn WriteTree) -> Result<()> {
        if !self.folders.contains_key(claim) {
            self.folders.insert(claim.to_owned(), TempDir::new()?);
        }
        let folder = self.folders[claim].path().to_owned();
        let script = script.replace("cd /d ", &format!("cd '{}' ", folder.display()));
        let output = Command::new("sh").args(["-c", &script]).output()?;
        ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        let source = LocalTree::open(&folder)?;
        empty(mount, &Path::root())?;
        copy(&source, mount, &Path::root())?;
        mount.sync()?;
        Ok(())
    }
}

fn empty(tree: &dyn WriteTree, directory: &Path) -> Result<()> {
    for entry in tree.read_dir(directory)? {
        let path = directory.join(&entry.name);
        if entry.kind == Kind::Directory {
            empty(tree, &path)?;
            tree.remove_dir(&path)?;
        } else {
            tree.remove_file(&path)?;
        }
    }
    Ok(())
}

fn copy(from: &dyn ReadTree, to: &dyn WriteTree, directory: &Path) -> Result<()> {
    for entry in from.read_dir(directory)? {
        let path = directory.join(&entry.name);
        match entry.kind {
            Kind::Directory => {
                to.create_dir(&path, 0o755)?;
                copy(from, to, &path)?;
            }
            Kind::Symlink => to.create_symlink(&path, &from.read_link(&path)?)?,
            Kind::File => {
                let mut bytes = Vec::new();
                from.open(&path)?.read_to_end(&mut bytes)?;
                let mut file = to.create_file(&path, 0o644)?;
                file.write_at(0, &bytes)?;
                file.finish()?;
            }
            other => anyhow::bail!("{path}: a seed made a {other:?}"),
        }
        to.set_owner(&path, 0, 0)?;
        if entry.kind != Kind::Symlink {
            to.set_mode(&path, entry.mode)?;
        }
        to.set_mtime(&path, entry.mtime)?;
    }
    Ok(())
}

/// What a pod that looks would print, as a set of lines: `mode owner size name`, and a sum for each file.
/// Names with a line break and the sizes of directories are left out, as the recorded shell garbles them.
pub fn look(tree: &dyn ReadTree) -> Result<BTreeSet<String>> {
    let mut lines = BTreeSet::new();
    walk(tree, &Path::root(), &mut lines)?;
    Ok(blobs(lines))
}

fn walk(tree: &dyn ReadTree, directory: &Path, lines: &mut BTreeSet<String>) -> Result<()> {
    for entry in tree.read_dir(directory)? {
        let path = directory.join(&entry.name);
        let name = format!("./{path}");
        let target = match entry.kind {
            Kind::Symlink => format!(" -> {}", String::from_utf8_lossy(&tree.read_link(&path)?)),
            _ => String::new(),
        };
        if name.contains('\n') {
            continue;
        }
        let kind = match entry.kind {
            Kind::Directory => 'd',
            Kind::Symlink => 'l',
            _ => '-',
        };
        let size = if entry.kind == Kind::Directory { String::new() } else { entry.size.to_string() };
        let mode = if entry.kind == Kind::Symlink { 0o777 } else { entry.mode };
        lines.insert(format!("{kind}{} {}:{} {size} {name}{target}", letters(mode), entry.uid, entry.gid));
        if entry.kind == Kind::Directory {
            walk(tree, &path, lines)?;
        } else if entry.kind == Kind::File {
            let mut bytes = Vec::new();
            tree.open(&path)?.read_to_end(&mut bytes)?;
            lines.insert(format!("{}  {name}", hex::encode(Sha256::digest(&bytes))));
        }
    }
    Ok(())
}

fn letters(mode: u32) -> String {
    let special = |bit: u32, executable: bool, both: char, alone: char, plain: char| match (
        mode & bit != 0,
        executable,
    ) {
        (true, true) => both,
        (true, false) => alone,
        (false, true) => plain,
        (false, false) => '-',
    };
    let mut text = String::new();
    for (shift, bit, both, alone) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        text.push(if mode >> shift & 4 != 0 { 'r' } else { '-' });
        text.push(if mode >> shift & 2 != 0 { 'w' } else { '-' });
        text.push(special(bit, mode >> shift & 1 != 0, both, alone, 'x'));
    }
    text
}

/// A recorded look, brought into the same shape.
pub fn recorded(log: &str) -> BTreeSet<String> {
    let lines = log
        .lines()
        .filter(|line| {
            !line.starts_with("stat: ")
                && *line != "line"
                && !line.ends_with(" ./new")
                && !line.ends_with(" .")
        })
        .filter(|line| !line.is_empty() && !line.ends_with("  ./new"))
        .map(|line| {
            let mut line = line.replace('\'', "");
            if line.starts_with('d') {
                let mut parts: Vec<_> = line.splitn(4, ' ').map(str::to_owned).collect();
                parts[2] = String::new();
                line = parts.join(" ");
            }
            line
        });
    blobs(lines.collect())
}

/// What a look at a repository's folder is compared by: for each kind of blob the sizes. Names are random,
/// the layout of the folders is told by the folder itself, and Kopia's own logs are not part of it; the
/// format and layout files differ in white space.
fn blobs(lines: BTreeSet<String>) -> BTreeSet<String> {
    if !lines.iter().any(|line| line.ends_with("./kopia.repository.f")) {
        return lines;
    }
    let blob = |line: &String| {
        let (facts, path) = line.split_once(" ./")?;
        let [mode, _, size] = *facts.split(' ').collect::<Vec<_>>() else { return None };
        let name: String = path.strip_suffix(".f")?.split('/').collect();
        let kind = ["kopia.", "_log", "xn", "p", "q"].into_iter().find(|kind| name.starts_with(kind))?;
        match kind {
            "_log" => None,
            "kopia." => Some(format!("{mode} {name}")),
            kind => Some(format!("{mode} {kind} of {size}")),
        }
    };
    lines.iter().filter_map(blob).collect()
}
