//! The report for a browser: one page that fetches nothing, readable in light and dark, printable.

use minijinja::{Environment, context};
use serde::Serialize;

use super::{Summary, real_time, svg, virtual_time};
use crate::outcome::Outcome;

const TEMPLATE: &str = include_str!("page.html");

#[derive(Serialize)]
struct Feature<'a> {
    name: &'a str,
    scenarios: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    outcome: &'a Outcome,
    verdict: String,
    virtual_time: String,
    real_time: String,
    replay: String,
    picture: String,
    anchor: String,
}

/// Writes it.
pub fn write(outcomes: &[Outcome], summary: &Summary) -> String {
    let mut features: Vec<Feature<'_>> = Vec::new();
    for (number, outcome) in outcomes.iter().enumerate() {
        let shown = Shown {
            outcome,
            verdict: outcome.verdict.to_string(),
            virtual_time: virtual_time(outcome.virtual_seconds()),
            real_time: real_time(outcome.real_ms),
            replay: outcome.replay(),
            picture: svg::draw(outcome),
            anchor: format!("s{number}"),
        };
        match features.iter_mut().find(|feature| feature.name == outcome.feature) {
            Some(feature) => feature.scenarios.push(shown),
            None => features.push(Feature { name: &outcome.feature, scenarios: vec![shown] }),
        }
    }
    let mut environment = Environment::new();
    environment.add_template("page.html", TEMPLATE).expect("the template is valid; a test renders it");
    let page = environment.get_template("page.html").expect("it was just added");
    page.render(context! {
        features => minijinja::Value::from(minijinja::value::Serde(&features)),
        verdicts => summary.verdicts_in_words(),
        worst => summary.worst.to_string(),
        count => summary.scenarios,
        virtual_time => virtual_time(summary.virtual_seconds),
        real_time => real_time(summary.real_ms),
        version => env!("CARGO_PKG_VERSION"),
    })
    .expect("the template uses only what it is given; a test renders it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_needs_nothing_but_itself_and_hides_nothing() {
        let outcomes = super::super::tests::outcomes();
        let page = write(&outcomes, &Summary::of(&outcomes, 240, 2));
        for foreign in ["http://", "https://", "src=", "@import", "<script", "url("] {
            assert!(!page.contains(foreign), "the page fetches something: {foreign}");
        }
        for words in [
            "nothing is &lt;lost&gt;",
            "x &lt;created&gt;",
            "<svg",
            "other bytes",
            "nfs-stale-handle",
            "and 2 lines more",
        ] {
            assert!(page.contains(words), "{words:?} is missing");
        }
        assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
    }
}
