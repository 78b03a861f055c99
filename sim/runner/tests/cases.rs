//! The table of behaviour cases says what the tags of features and scenarios say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use runner::input;

#[test]
fn the_table_of_cases_names_every_file_that_shows_one_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for found in input::load(&[root.join("features"), root.join("scenarios")]).unwrap() {
        let file = found.file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let is_case = |tag: &&String| {
            tag.len() == 3 && tag.starts_with('K') && tag[1..].bytes().all(|byte| byte.is_ascii_digit())
        };
        for case in found.scenario.tags.iter().filter(is_case) {
            shown.entry(case.clone()).or_default().insert(file.clone());
        }
    }
    let table = fs::read_to_string(root.join("scenarios/CASES.md")).unwrap();
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with("| K")) {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let files: BTreeSet<_> = cells
            .last()
            .unwrap()
            .split(", ")
            .map(|file| file.trim_matches('`').to_owned())
            .filter(|file| file.contains('/'))
            .collect();
        if !files.is_empty() {
            told.insert(cells[0].to_owned(), files);
        }
    }
    assert_eq!(told, shown);
    assert!(shown.len() >= 20, "only {} of 38 cases are shown", shown.len());
}
