//! The report for programs: one object with the summary and every outcome.

use serde::Serialize;

use super::Summary;
use crate::outcome::Outcome;

#[derive(Serialize)]
struct Report<'a> {
    summary: &'a Summary,
    scenarios: &'a [Outcome],
}

/// Writes it.
pub fn write(outcomes: &[Outcome], summary: &Summary) -> String {
    let mut text = serde_json::to_string_pretty(&Report { summary, scenarios: outcomes })
        .expect("outcomes are plain data");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let outcomes = super::super::tests::outcomes();
        let text = write(&outcomes, &Summary::of(&outcomes, 1, 1));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["scenarios"][1]["verdict"], "violated");
        assert_eq!(value["summary"]["scenarios"], 2);
        let back: Vec<Outcome> = serde_json::from_value(value["scenarios"].clone()).unwrap();
        assert_eq!(back, outcomes);
    }
}
