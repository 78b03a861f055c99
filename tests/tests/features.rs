//! Plays `features/` with stock cucumber, on the embedded bed.
//!
//! Proves that the features are plain Gherkin which any cucumber can play through the phrase table, and
//! that both readers (cucumber's and the runner's) mean the same. Undefined steps fail. Scenarios that
//! need the release profile's speed (`@quiet`: a year) are left to `firedrill run`, and their number is
//! printed. The controllers work under the rules of the chart: what those lack, and what they grant although
//! no feature needs it, fails the whole run.

mod steps;

use std::path::Path;

use cucumber::World as _;
use k8s_openapi::api::rbac::v1::PolicyRule;
use runner::{drive::Stage, feature};
use testbed::access::Guard;

/// What the chart lets the controller do in every namespace.
fn rules() -> Vec<PolicyRule> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/firedrill/files/controller-rules.yaml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn main() {
    let guard = Guard::new(&rules());
    guard.install();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../features");
    // The beds own runtimes of their own, so that no runtime may be around them.
    futures::executor::block_on(
        steps::Bed::cucumber()
            .steps(steps::collection())
            .max_concurrent_scenarios(1)
            .fail_on_skipped()
            .before(|feature, _, scenario, world| {
                let set = feature::settings(feature, scenario).unwrap_or_else(|error| panic!("{error}"));
                world.stage =
                    Some(Stage::set(&set, None).unwrap_or_else(|failure| panic!("{}", failure.reason)));
                Box::pin(std::future::ready(()))
            })
            .filter_run_and_exit(folder, |_, _, scenario| {
                let slow = scenario.tags.iter().any(|tag| tag == "quiet");
                if slow {
                    println!("left to `firedrill run`: {}", scenario.name);
                }
                !slow
            }),
    );
    let lines = |set: std::collections::BTreeSet<testbed::access::Access>| {
        set.iter().map(|access| format!("\n  {access}")).collect::<Vec<_>>().concat()
    };
    assert!(guard.refused().is_empty(), "the chart's rules lack:{}", lines(guard.refused()));
    assert!(guard.unused().is_empty(), "the chart grants what no feature needs:{}", lines(guard.unused()));
    println!("the controller needed each of the chart's {} permissions and no other", guard.used().len());
}
