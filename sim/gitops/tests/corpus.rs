//! Reads the corpus of real repositories and prints what was found in each.
//!
//! Needs `../shared/corpus` beside the workspace (or `FIREDRILL_CORPUS`); skips with a reason when it is
//! missing. Does not drill: the drill's own test does.

use std::path::{Path, PathBuf};

use gitops::{Input, Options, read};

fn corpus() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let candidates = [
        std::env::var_os("FIREDRILL_CORPUS").map(PathBuf::from),
        Some(root.join("shared/corpus")),
        Some(root.join("../shared/corpus")),
    ];
    candidates.into_iter().flatten().find(|path| path.is_dir())
}

#[test]
fn every_repository_of_the_corpus_is_read() {
    let Some(corpus) = corpus() else {
        println!("skipped: no corpus at ../shared/corpus and FIREDRILL_CORPUS is not set");
        return;
    };
    let mut names: Vec<PathBuf> = std::fs::read_dir(&corpus)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    names.sort();
    let mut with_kopia_apps = 0;
    for path in &names {
        let model = read(vec![Input::Path(path.clone())], &Options::default()).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let restic = model.unread.iter().filter(|unread| unread.mover == "restic").count();
        println!(
            "{name:34} files {:3} ks {:2} apps {:2} kopia sources {:2} destinations {:2} restic {:2} unknown {:?} skipped {:2} problems {}",
            model.counts.files,
            model.counts.kustomizations,
            model.apps.len(),
            model.counts.kopia_sources,
            model.apps.iter().map(|app| app.destinations.len()).sum::<usize>(),
            restic,
            model
                .apps
                .iter()
                .flat_map(|app| app.unknown.iter().map(|unknown| unknown.variable.clone()))
                .collect::<std::collections::BTreeSet<_>>(),
            model.skipped.len(),
            model.problems.len() + model.apps.iter().map(|app| app.problems.len()).sum::<usize>(),
        );
        for app in &model.apps {
            println!(
                "    {} claims {:?} sources {:?} destinations {:?} writer {:?} {:?}",
                app.key,
                app.claims
                    .iter()
                    .map(|claim| (&claim.object.name, claim.declared, &claim.filled_by))
                    .collect::<Vec<_>>(),
                app.sources
                    .iter()
                    .map(|source| (
                        source.identity.to_string(),
                        source.mover.location.as_ref().map(ToString::to_string)
                    ))
                    .collect::<Vec<_>>(),
                app.destinations
                    .iter()
                    .map(|destination| destination.identity.to_string())
                    .collect::<Vec<_>>(),
                app.writer.map(|writer| writer.uid),
                app.assumed
            );
        }
        for problem in &model.problems {
            println!("    ! {problem}");
        }
        if std::env::var_os("FIREDRILL_VERBOSE").is_some() {
            for skipped in &model.skipped {
                println!("    - {}: {} ({})", skipped.what, skipped.why, skipped.origin);
            }
            for assumed in &model.assumed {
                println!("    ~ {assumed}");
            }
            for unread in &model.unread {
                println!("    ? {} {} {}", unread.mover, unread.title, unread.origin);
            }
        }
        if model.apps.iter().any(|app| !app.sources.is_empty() && app.unknown.is_empty()) {
            with_kopia_apps += 1;
        }
    }
    println!("{with_kopia_apps} repositories hold apps with Kopia sources and no unknown variable");
    assert!(with_kopia_apps >= 12, "only {with_kopia_apps} repositories were read into apps");
}
