//! Embeds `features/` and `scenarios/` into the binary, so that it can play them from any directory.
//!
//! Writes a table of path and text, sorted by path. What lies outside those two folders is not embedded.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../..");
    let mut files = Vec::new();
    for folder in ["features", "scenarios"] {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        gather(&root, Path::new(folder), &mut files);
    }
    files.sort();
    let mut table = String::from("[\n");
    for file in &files {
        let full = root.join(file).canonicalize().expect("the file was just listed");
        table.push_str(&format!(
            "    ({:?}, include_str!({:?})),\n",
            file.to_string_lossy(),
            full.to_string_lossy()
        ));
    }
    table.push_str("]\n");
    let target = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("embedded.rs");
    fs::write(target, table).expect("OUT_DIR can be written");
}

fn gather(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    for entry in entries.flatten() {
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            gather(root, &path, files);
        } else if matches!(path.extension().and_then(|ending| ending.to_str()), Some("feature" | "yaml")) {
            files.push(path);
        }
    }
}
