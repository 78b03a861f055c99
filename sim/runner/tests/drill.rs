//! Drills real manifests: a sound repository comes back, and a broken one does not, for the right reason.

use std::path::{Path, PathBuf};

use clap::Parser;
use gitops::{Input, Options, read};
use runner::drill::certificate::{Certificate, Verdict};
use runner::drill::{Args, Drilled, Screen, hold};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gitops/tests/fixtures/home")
}

/// Holds a drill as the command would.
fn drill(path: &Path, flags: &[&str]) -> Drilled {
    let words = [&["drill", path.to_str().unwrap()], flags].concat();
    let args = Line::parse_from(words).args;
    let options = Options { variables: args.set.iter().cloned().collect(), ..Options::default() };
    let model = read(vec![Input::Path(path.to_owned())], &options).unwrap();
    hold(&args, &model, jiff::civil::date(2026, 11, 21), &Screen::silent()).unwrap()
}

fn certificate<'a>(drilled: &'a Drilled, app: &str) -> &'a Certificate {
    drilled.statement.certificates.iter().find(|certificate| certificate.app.ends_with(&format!("/{app}"))).unwrap_or_else(|| panic!("no certificate for {app}"))
}

fn text(drilled: &Drilled) -> String {
    drilled.statement.text(runner::drill::Format::Terminal)
}

#[test]
fn a_sound_repository_comes_back_byte_for_byte() {
    let drilled = drill(&home(), &["--days", "2"]);
    assert_eq!(drilled.code, 0, "{}", text(&drilled));
    for app in ["notes", "photos", "wiki"] {
        let certificate = certificate(&drilled, app);
        assert_eq!(certificate.verdict, Verdict::Protected, "{}", text(&drilled));
        assert!(certificate.syncs >= 8 && certificate.claims[0].files > 40 && certificate.claims[0].rto_seconds.is_some(), "{certificate:#?}");
    }
}
