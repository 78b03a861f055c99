//! Phrases about data: what snapshots and claims hold.

use super::{Keyword::*, Phrase, Said, Words, phrase};
use crate::{
    expect::{Count, Expect, Moment, Which},
    step::Step,
};

pub(super) const PHRASES: &[Phrase] = &[
    phrase(
        Then,
        r#"the newest snapshot of "{source:name}" restores to what "{volume:name}" held[ at "{moment:word}"]"#,
        |words| snapshot(words, Which::Newest),
        |step| snapshot_said(step, &Which::Newest),
    ),
    phrase(
        Then,
        r#"the snapshot of "{source:name}" {before:n} before the newest restores to what "{volume:name}" held[ at "{moment:word}"]"#,
        |words| snapshot(words, Which::Before(words.get("before")?)),
        |step| match step {
            Step::Then(Expect::SnapshotHolds { which: which @ Which::Before(before), .. }) => {
                Some(snapshot_said(step, which)?.with("before", before))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the snapshot of "{source:name}" as of "{label:word}" restores to what "{volume:name}" held[ at "{moment:word}"]"#,
        |words| snapshot(words, Which::AsOf(words.get("label")?)),
        |step| match step {
            Step::Then(Expect::SnapshotHolds { which: which @ Which::AsOf(label), .. }) => {
                Some(snapshot_said(step, which)?.with("label", label))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the claim "{claim:name}" holds what "{volume:name}" held at the last sync"#,
        |words| claim(words, Moment::LastSync),
        |step| claim_said(step, &Moment::LastSync),
    ),
    phrase(
        Then,
        r#"the claim "{claim:name}" holds what "{volume:name}" held at "{moment:word}""#,
        |words| claim(words, Moment::Remembered(words.get("moment")?)),
        |step| match step {
            Step::Then(Expect::ClaimHolds { at: at @ Moment::Remembered(moment), .. }) => {
                Some(claim_said(step, at)?.with("moment", moment))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the claim "{claim:name}" holds what "{volume:name}" holds"#,
        |words| claim(words, Moment::Now),
        |step| claim_said(step, &Moment::Now),
    ),
    phrase(
        Then,
        r#"the claim "{claim:name}" holds nothing"#,
        |words| Ok(Step::Then(Expect::ClaimEmpty(words.get("claim")?))),
        |step| match step {
            Step::Then(Expect::ClaimEmpty(claim)) => Some(Said::new().with("claim", claim)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the claim "{claim:name}" is bound"#,
        |words| Ok(Step::Then(Expect::ClaimBound { claim: words.get("claim")?, bound: true })),
        |step| match step {
            Step::Then(Expect::ClaimBound { claim, bound: true }) => Some(Said::new().with("claim", claim)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the claim "{claim:name}" is not bound"#,
        |words| Ok(Step::Then(Expect::ClaimBound { claim: words.get("claim")?, bound: false })),
        |step| match step {
            Step::Then(Expect::ClaimBound { claim, bound: false }) => Some(Said::new().with("claim", claim)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the repository holds {n:n} snapshots of "{source:name}""#,
        |words| snapshots(words, Count::Exactly),
        |step| match step {
            Step::Then(Expect::Snapshots { source, count: Count::Exactly(n) }) => {
                Some(Said::new().with("source", source).with("n", n))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the repository holds at least {n:n} snapshots of "{source:name}""#,
        |words| snapshots(words, Count::AtLeast),
        |step| match step {
            Step::Then(Expect::Snapshots { source, count: Count::AtLeast(n) }) => {
                Some(Said::new().with("source", source).with("n", n))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the repository holds at most {n:n} snapshots of "{source:name}""#,
        |words| snapshots(words, Count::AtMost),
        |step| match step {
            Step::Then(Expect::Snapshots { source, count: Count::AtMost(n) }) => {
                Some(Said::new().with("source", source).with("n", n))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"each sync of "{source:name}" left exactly one snapshot"#,
        |words| Ok(Step::Then(Expect::NoDuplicateSnapshot(words.get("source")?))),
        |step| match step {
            Step::Then(Expect::NoDuplicateSnapshot(source)) => Some(Said::new().with("source", source)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the snapshots of "{of:name}" are not visible to "{to:name}""#,
        |words| Ok(Step::Then(Expect::NotVisible { of: words.get("of")?, to: words.get("to")? })),
        |step| match step {
            Step::Then(Expect::NotVisible { of, to }) => Some(Said::new().with("of", of).with("to", to)),
            _ => None,
        },
    ),
];

fn snapshot(words: &Words<'_>, which: Which) -> Result<Step, String> {
    let at = words.maybe("moment")?.map_or(Moment::LastSync, Moment::Remembered);
    Ok(Step::Then(Expect::SnapshotHolds {
        source: words.get("source")?,
        which,
        volume: words.get("volume")?,
        at,
    }))
}

fn snapshot_said(step: &Step, wanted: &Which) -> Option<Said> {
    let Step::Then(Expect::SnapshotHolds { source, which, volume, at }) = step else { return None };
    let said = Said::new().with("source", source).with("volume", volume);
    match at {
        _ if which != wanted => None,
        Moment::LastSync => Some(said),
        Moment::Remembered(moment) => Some(said.with("moment", moment)),
        Moment::Now => None,
    }
}

fn claim(words: &Words<'_>, at: Moment) -> Result<Step, String> {
    Ok(Step::Then(Expect::ClaimHolds { claim: words.get("claim")?, volume: words.get("volume")?, at }))
}

fn claim_said(step: &Step, wanted: &Moment) -> Option<Said> {
    match step {
        Step::Then(Expect::ClaimHolds { claim, volume, at }) if at == wanted => {
            Some(Said::new().with("claim", claim).with("volume", volume))
        }
        _ => None,
    }
}

fn snapshots(words: &Words<'_>, count: fn(u32) -> Count) -> Result<Step, String> {
    Ok(Step::Then(Expect::Snapshots { source: words.get("source")?, count: count(words.get("n")?) }))
}
