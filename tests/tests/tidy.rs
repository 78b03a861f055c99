//! House rules that nobody should have to remember.
//!
//! Each rule is a pure function from a picture of the tree to its violations, and each has a saboteur: a
//! picture that breaks it, on which the rule must speak. It reads the checkout and `cargo metadata`; it
//! builds and changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use regex::Regex;
use serde_json::Value;

/// Who may depend on whom, dev-dependencies included. `acceptance` may look into every room.
const FLOORS: &[(&str, &[&str])] = &[
    ("contract", &[]),
    ("api", &[]),
    ("engine", &[]),
    ("fault", &[]),
    ("json", &[]),
    ("apiserver", &["json"]),
    ("cluster", &[]),
    ("mover", &["engine", "contract"]),
    ("controller", &["api", "contract"]),
    ("scenario", &["fault", "json"]),
    ("kit", &["fault"]),
    ("gitops", &["api", "scenario"]),
    (
        "testbed",
        &[
            "controller",
            "mover",
            "engine",
            "api",
            "contract",
            "apiserver",
            "cluster",
            "scenario",
            "fault",
            "kit",
            "json",
        ],
    ),
    ("runner", &["testbed", "gitops", "cluster", "scenario", "fault", "json"]),
];

/// Foreign packages and the rooms that may name them, so that a change of heart touches few rooms.
const OWNERS: &[(&str, &[&str])] = &[
    ("kube", &["api", "controller", "testbed", "apiserver", "acceptance"]),
    ("cucumber", &["acceptance"]),
    ("smol_str", &["json"]),
    ("zstd", &["engine"]),
    ("aes-gcm", &["engine"]),
    ("blake2", &["engine"]),
    ("scrypt", &["engine"]),
    ("minijinja", &["runner"]),
    ("indicatif", &["runner"]),
    ("prometheus-client", &["controller"]),
    ("tonic", &["kit"]),
    ("fuser", &["kit"]),
    ("testcontainers", &["cluster"]),
];

/// Files longer than [`LENGTH_MAX`] lines, each with the reason why it stays whole.
const LONG: &[(&str, &str)] = &[];
const LENGTH_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

fn cargo(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// Tracked and new files below the root, as git sees them: path and text.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    String::from_utf8(output.stdout)
        .expect("file names of this repository are UTF-8")
        .lines()
        .filter(|name| endings.iter().any(|ending| name.ends_with(ending)))
        .filter_map(|name| Some((name.to_owned(), fs::read_to_string(root().join(name)).ok()?)))
        .collect()
}

/// Direct dependencies of each member by name, from `cargo metadata`.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]))
            .unwrap();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let names = package["dependencies"].as_array().unwrap().iter();
            let names = names.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect();
            (package["name"].as_str().unwrap().to_owned(), names)
        })
        .collect()
}

fn forbidden_arrows(dependencies: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    let mut violations = Vec::new();
    for (room, names) in dependencies.iter().filter(|(room, _)| *room != "acceptance") {
        let Some(allowed) = floors.get(room.as_str()) else {
            violations.push(format!("{room} is a room without a floor: add it to FLOORS and to the map"));
            continue;
        };
        for name in names.iter().filter(|name| floors.contains_key(name.as_str())) {
            if !allowed.contains(&name.as_str()) {
                violations.push(format!("{room} -> {name} points up or sideways"));
            }
        }
    }
    for (package, owners) in OWNERS {
        for (room, _) in dependencies.iter().filter(|(_, names)| names.contains(*package)) {
            if !owners.contains(&room.as_str()) {
                violations.push(format!("{room} names {package}, which belongs to {owners:?}"));
            }
        }
    }
    violations
}

#[test]
fn arrows_point_down() {
    assert_eq!(forbidden_arrows(&dependencies()), Vec::<String>::new());
}

#[test]
fn an_arrow_that_points_up_is_seen() {
    let mut broken = dependencies();
    broken.get_mut("engine").unwrap().insert("mover".to_owned());
    broken.get_mut("gitops").unwrap().insert("kube".to_owned());
    let violations = forbidden_arrows(&broken);
    assert_eq!(violations.len(), 2, "{violations:?}");
}

#[test]
fn the_movers_tree_has_no_kube() {
    let tree = cargo(&["tree", "--package", "mover", "--edges", "normal", "--prefix", "none", "--offline"]);
    let names: Vec<_> =
        tree.lines().filter(|line| line.starts_with("kube") || line.starts_with("k8s-")).collect();
    assert!(names.is_empty(), "the mover must not talk to Kubernetes: {names:?}");
    let tree =
        cargo(&["tree", "--package", "controller", "--edges", "normal", "--prefix", "none", "--offline"]);
    assert!(tree.lines().any(|line| line.starts_with("kube ")), "this check can no longer see kube at all");
}

fn without_module_doc(files: &[(String, String)]) -> Vec<String> {
    let bare = files.iter().filter(|(name, text)| !name.contains("/fixtures/") && !text.starts_with("//!"));
    bare.map(|(name, _)| name.clone()).collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_eq!(without_module_doc(&files(&[".rs"])), Vec::<String>::new());
    assert_eq!(without_module_doc(&[("a.rs".to_owned(), "use b;".to_owned())]), ["a.rs"]);
}

/// Examples in the documentation of rooms that do not test theirs. To look for examples costs half as long as to
/// compile the room, so that only a room that has some is asked (`doctest` below `[lib]` in its Cargo.toml).
fn untested_examples(files: &[(String, String)], untested: &BTreeSet<String>) -> Vec<String> {
    let fence = Regex::new(r"^\s*//[/!]\s*```(.*)$").expect("a valid pattern");
    let is_code =
        Regex::new("^(rust|no_run|should_panic|compile_fail|edition.*|)$").expect("a valid pattern");
    let of_untested = files.iter().filter(|(name, _)| {
        untested.iter().any(|room| name.strip_prefix(room).is_some_and(|rest| rest.starts_with("/src/")))
    });
    let mut violations = Vec::new();
    for (name, text) in of_untested {
        let fences = text
            .lines()
            .enumerate()
            .filter_map(|(number, line)| Some((number + 1, fence.captures(line)?.get(1)?.as_str().trim())));
        // Every second one closes.
        for (number, words) in fences.step_by(2) {
            if words.split([',', ' ']).all(|word| is_code.is_match(word)) {
                violations.push(format!(
                    "{name}:{number}: an example that nobody tests: take `doctest = false` out"
                ));
            }
        }
    }
    violations
}

#[test]
fn every_example_is_tested() {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]))
            .unwrap();
    let is_untested = |package: &&Value| {
        package["targets"].as_array().unwrap().iter().any(|target| {
            target["kind"].as_array().unwrap().contains(&"lib".into()) && target["doctest"] == false
        })
    };
    let room = |package: &Value| {
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        let room = manifest.parent().unwrap().strip_prefix(root()).unwrap().to_owned();
        room.to_str().expect("names of rooms are UTF-8").to_owned()
    };
    let untested: BTreeSet<_> =
        metadata["packages"].as_array().unwrap().iter().filter(is_untested).map(room).collect();
    assert_eq!(untested_examples(&files(&[".rs"]), &untested), Vec::<String>::new());
    let broken = [
        ("sim/a/src/b.rs", "/// ```text\n/// x\n/// ```\n/// ```\n/// f();\n/// ```\n"),
        ("sim/a/src/c.rs", "    //! ```rust,no_run\n    //! ```\n"),
        ("sim/b/src/a.rs", "/// ```\n/// f();\n/// ```\n"),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()));
    let told = untested_examples(&broken, &["sim/a".to_owned()].into());
    let places: Vec<_> = told.iter().map(|told| told.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["sim/a/src/b.rs:4", "sim/a/src/c.rs:1"]);
}

/// What must not stand in our Rust, where, and what to do instead.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("todo", r"!\("), "finish it or take it out"),
    (concat!("unimplemented", r"!\("), "finish it or take it out"),
    (concat!(r"#\[", "ignore"), "assert today's wrong behaviour and say why it is wrong"),
    (concat!("FIX", "ME"), "file it or fix it"),
    (concat!(r"assert!\(", "true"), "a test that cannot fail"),
    (concat!("/wo", "rk/"), "a path of one machine"),
];

fn forbidden_text(files: &[(String, String)]) -> Vec<String> {
    let rules: Vec<_> = FORBIDDEN
        .iter()
        .map(|(pattern, cure)| (Regex::new(pattern).expect("a valid pattern"), cure))
        .collect();
    let mut violations = Vec::new();
    for (name, text) in files {
        for (number, line) in text.lines().enumerate() {
            for (rule, cure) in &rules {
                if rule.is_match(line) {
                    violations.push(format!("{name}:{}: {} ({cure})", number + 1, line.trim()));
                }
            }
        }
    }
    violations
}

#[test]
fn nothing_unfinished_is_called_done() {
    assert_eq!(forbidden_text(&files(&[".rs"])), Vec::<String>::new());
    let broken = ("a.rs".to_owned(), format!("fn a() {{ {}!() }}", "todo"));
    assert_eq!(forbidden_text(&[broken]).len(), 1);
}

fn shared_in_the_product(files: &[(String, String)]) -> Vec<String> {
    let product = files.iter().filter(|(name, _)| name.contains("/src/") && !name.starts_with("tests/"));
    product.filter(|(_, text)| text.contains("../shared")).map(|(name, _)| name.clone()).collect()
}

#[test]
fn the_product_needs_nothing_that_users_lack() {
    assert_eq!(shared_in_the_product(&files(&[".rs"])), Vec::<String>::new());
    assert_eq!(
        shared_in_the_product(&[("sim/a/src/b.rs".to_owned(), "\"../shared/x\"".to_owned())]).len(),
        1
    );
}

fn too_long(files: &[(String, String)], long: &[(&str, &str)]) -> Vec<String> {
    let mut violations = Vec::new();
    for (name, text) in files {
        let lines = text.lines().count();
        let excused = long.iter().any(|(file, reason)| file == name && !reason.is_empty());
        if lines > LENGTH_MAX && !excused {
            violations.push(format!("{name}: {lines} lines; split it by concept, or say in LONG why not"));
        }
    }
    for (file, _) in long {
        if !files.iter().any(|(name, text)| name == file && text.lines().count() > LENGTH_MAX) {
            violations.push(format!("{file} is excused in LONG and need not be"));
        }
    }
    violations
}

#[test]
fn files_hold_one_concept() {
    assert_eq!(too_long(&files(&[".rs"]), LONG), Vec::<String>::new());
    assert_eq!(too_long(&[("a.rs".to_owned(), "\n".repeat(LENGTH_MAX + 1))], &[]).len(), 1);
}

/// The paths named in the README's map: the first word of each line of the code block under `## Map`.
fn mapped(readme: &str) -> BTreeSet<String> {
    let map = readme.split("\n## Map").nth(1).expect("README has a section `## Map`");
    let block = map.split("```").nth(1).expect("the map is a code block");
    let lines = block.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    lines.map(|path| path.trim_end_matches('/').to_owned()).collect()
}

fn rooms() -> BTreeSet<String> {
    let mut rooms: BTreeSet<_> =
        ["Cargo.toml", "README.md", "features", "scenarios", "charts", "reference", "sim"]
            .map(str::to_owned)
            .into();
    for (name, _) in files(&["Cargo.toml"]) {
        if let Some(room) = name.strip_suffix("/Cargo.toml") {
            rooms.insert(room.to_owned());
        }
    }
    rooms
}

#[test]
fn the_map_is_the_territory() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md is there");
    assert_eq!(mapped(&readme), rooms(), "README's map (left) and the tree (right) differ");
    assert_ne!(mapped("\n## Map\n```text\nelsewhere/ x\n```"), rooms());
}

#[test]
fn the_top_level_is_fixed() {
    let allowed = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "charts",
        "features",
        "reference",
        "scenarios",
        "sim",
        "tests",
    ];
    let output =
        Command::new("git").args(["ls-files"]).current_dir(root()).output().expect("git lists the files");
    let names = String::from_utf8(output.stdout).unwrap();
    let top: BTreeSet<_> = names.lines().filter_map(|name| name.split('/').next()).collect();
    let strangers: Vec<_> =
        top.iter().filter(|name| !name.starts_with('.') && !allowed.contains(*name)).collect();
    assert!(strangers.is_empty(), "{strangers:?} lie at the top level, whose entries are fixed");
}

/// The licences that .deny.toml allows.
fn allowed_licences() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(".deny.toml")).expect(".deny.toml is there");
    let list = text.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).expect("an allow list");
    Regex::new("\"([^\"]+)\"").unwrap().captures_iter(list).map(|found| found[1].to_owned()).collect()
}

/// Whether an SPDX expression can be satisfied with the allowed licences (`OR` needs one, `AND` all).
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ");
    expression
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|name| allowed.contains(name.trim().trim_matches(['(', ')']))))
}

#[test]
fn licences_of_what_we_link_are_allowed() {
    let allowed = allowed_licences();
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--offline"])).unwrap();
    let refused: Vec<_> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| !is_allowed(package["license"].as_str().unwrap_or("none"), &allowed))
        .map(|package| format!("{} {}", package["name"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(!is_allowed("AGPL-3.0", &allowed) && !is_allowed("MIT AND GPL-3.0", &allowed));
    assert!(
        is_allowed("MIT OR GPL-3.0", &allowed) && is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0", &allowed)
    );
}
