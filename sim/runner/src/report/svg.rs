//! The picture of a run: lanes over virtual time, as SVG that needs nothing but itself.
//!
//! Colours come from classes, so that the page around it decides about light and dark. Each span tells
//! what it is when pointed at (`<title>`).

use std::fmt::Write as _;

use jiff::Timestamp;

use super::junit::escape;
use crate::outcome::Outcome;

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 230.0;
const LANE: f64 = 20.0;
const TOP: f64 = 34.0;

/// Draws the timeline of an outcome; empty if nothing happened.
pub fn draw(outcome: &Outcome) -> String {
    let lanes = &outcome.timeline.lanes;
    let (start, end) = (outcome.starts, outcome.ends);
    if lanes.is_empty() || end <= start {
        return String::new();
    }
    let shown = lanes.len().min(24);
    let height = TOP + LANE * shown as f64 + 16.0;
    let total = end.duration_since(start).as_secs_f64();
    let x = |at: Timestamp| {
        LEFT + (WIDTH - LEFT - 10.0) * (at.duration_since(start).as_secs_f64() / total).clamp(0.0, 1.0)
    };
    let mut svg = format!(
        "<svg class=\"timeline\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"timeline\">\n"
    );
    axis(&mut svg, start, total, height);
    for step in &outcome.steps {
        if step.passed.is_some() {
            let class = if step.passed == Some(false) { "step bad" } else { "step" };
            let _ = writeln!(
                svg,
                "<path class=\"{class}\" d=\"M{0:.1} {1} l4 7 l-8 0 z\"><title>{2}</title></path>",
                x(step.at),
                TOP - 11.0,
                escape(&step.text),
            );
        }
    }
    for (row, lane) in lanes.iter().take(shown).enumerate() {
        let y = TOP + LANE * row as f64;
        let name: String = if lane.name.chars().count() > 38 {
            lane.name.chars().take(37).chain(['…']).collect()
        } else {
            lane.name.clone()
        };
        let _ = writeln!(svg, "<text class=\"lane\" x=\"4\" y=\"{:.1}\">{}</text>", y + 13.0, escape(&name));
        let _ = writeln!(
            svg,
            "<line class=\"rule\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>",
            WIDTH - 10.0,
            y + LANE
        );
        for span in &lane.spans {
            let (from, to) = (x(span.from), x(span.to));
            let times = if span.count > 1 { format!(" ({} together)", span.count) } else { String::new() };
            let _ = writeln!(
                svg,
                "<rect class=\"{}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"12\" rx=\"2\"><title>{}{times}, {} to {}</title></rect>",
                escape(&span.class),
                y + 4.0,
                (to - from).max(2.5),
                escape(&span.label),
                span.from,
                span.to,
            );
        }
    }
    if lanes.len() > shown {
        let _ = writeln!(
            svg,
            "<text class=\"lane\" x=\"4\" y=\"{}\">and {} lanes more</text>",
            height - 4.0,
            lanes.len() - shown
        );
    }
    let verdict = outcome.verdict.to_string();
    let _ = writeln!(
        svg,
        "<line class=\"end {verdict}\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{1}\"><title>{verdict}</title></line>",
        x(end),
        height - 16.0
    );
    svg.push_str("</svg>\n");
    svg
}

fn axis(svg: &mut String, start: Timestamp, total: f64, height: f64) {
    let steps = [60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0];
    let step = steps.into_iter().find(|step| total / step <= 10.0).unwrap_or(total / 8.0).max(total / 12.0);
    let mut at = 0.0;
    while at <= total {
        let place = LEFT + (WIDTH - LEFT - 10.0) * at / total;
        let time = start.saturating_add(jiff::SignedDuration::from_secs(at as i64)).unwrap_or(start);
        let time = time.to_zoned(jiff::tz::TimeZone::UTC);
        let label = if step >= 86_400.0 { time.strftime("%d %b") } else { time.strftime("%d. %H:%M") };
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{place:.1}\" x2=\"{place:.1}\" y1=\"{TOP}\" y2=\"{}\"/>",
            height - 16.0
        );
        let _ = writeln!(svg, "<text class=\"tick\" x=\"{place:.1}\" y=\"14\">{label}</text>");
        at += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_shows_each_lane_and_is_escaped() {
        let svg = draw(&super::super::tests::outcomes()[0]);
        assert!(svg.contains("Job &lt;one&gt;") && svg.contains("job &amp; more"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 1);
        assert!(svg.contains("class=\"end passed\""));
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let mut outcome = super::super::tests::outcomes().remove(0);
        outcome.timeline.lanes.clear();
        assert_eq!(draw(&outcome), "");
    }
}
