//! Plays `features/` with stock cucumber, on the embedded bed.
//!
//! Proves that the features are plain Gherkin which any cucumber can play through the phrase table, and
//! that both readers (cucumber's and the runner's) mean the same. Undefined steps fail. Scenarios that
//! need the release profile's speed (`@quiet`: a year) are left to `firedrill run`, and their number is
//! printed.

mod steps;

use std::path::Path;

use cucumber::World as _;
use runner::{drive::Stage, feature};

fn main() {
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
}
