//! Phrases about volumes: what they hold and how a workload changes them.

use super::{Keyword::*, Phrase, Said, phrase};
use crate::{
    quantity::ByteSize,
    step::{Act, Build, Claim, Step, Volume},
    tree::{ChangeSpec, Owner, Special, TreeSpec},
};

pub(super) const PHRASES: &[Phrase] = &[
    phrase(
        Given,
        r#"a volume "{name:name}"[ on "{class:word}"][ of {capacity:size}] holding {files:n} files and {size:size}[ with {with:specials}][ owned by {uid:n}:{gid:n}] from seed {seed:n}"#,
        |words| {
            let specials = words.maybe::<String>("with")?.unwrap_or_default();
            let specials = specials.split(", ").filter(|word| !word.is_empty()).map(str::parse::<Special>);
            let owner = match (words.maybe("uid")?, words.maybe("gid")?) {
                (Some(uid), Some(gid)) => Some(Owner { uid, gid }),
                _ => None,
            };
            Ok(Step::Given(Build::Volume(Volume {
                name: words.get("name")?,
                class: words.maybe("class")?,
                capacity: words.maybe("capacity")?,
                holding: TreeSpec {
                    files: words.get("files")?,
                    size: words.get("size")?,
                    seed: words.get("seed")?,
                    with: specials.collect::<Result<_, _>>()?,
                    owner,
                },
            })))
        },
        |step| match step {
            Step::Given(Build::Volume(volume)) if volume.holding != TreeSpec::empty() => {
                let tree = &volume.holding;
                let specials: Vec<_> = tree.with.iter().map(|special| special.words()).collect();
                let said = volume_said(volume)
                    .with("files", tree.files)
                    .with("size", tree.size)
                    .with("seed", tree.seed)
                    .maybe("uid", tree.owner.map(|owner| owner.uid).as_ref())
                    .maybe("gid", tree.owner.map(|owner| owner.gid).as_ref());
                Some(if specials.is_empty() { said } else { said.with("with", specials.join(", ")) })
            }
            _ => None,
        },
    ),
    phrase(
        Given,
        r#"a volume "{name:name}"[ on "{class:word}"][ of {capacity:size}] holding nothing"#,
        |words| {
            Ok(Step::Given(Build::Volume(Volume {
                name: words.get("name")?,
                class: words.maybe("class")?,
                capacity: words.maybe("capacity")?,
                holding: TreeSpec::empty(),
            })))
        },
        |step| match step {
            Step::Given(Build::Volume(volume)) => Some(volume_said(volume)),
            _ => None,
        },
    ),
    phrase(
        Given,
        r#"an unfilled claim "{name:name}"[ on "{class:word}"][ of {capacity:size}]"#,
        |words| Ok(Step::Given(Build::Claim(claim(words)?))),
        |step| match step {
            Step::Given(Build::Claim(claim)) if claim.filled_from.is_none() => Some(claim_said(claim)),
            _ => None,
        },
    ),
    phrase(
        Given,
        r#"a claim "{name:name}"[ on "{class:word}"][ of {capacity:size}] that "{from:name}" fills"#,
        |words| Ok(Step::Given(Build::Claim(claim(words)?))),
        |step| match step {
            Step::Given(Build::Claim(claim)) => Some(claim_said(claim)),
            _ => None,
        },
    ),
    phrase(
        When,
        r#"an unfilled claim "{name:name}"[ on "{class:word}"][ of {capacity:size}] is created"#,
        |words| Ok(Step::When(Act::Create(Build::Claim(claim(words)?)))),
        |step| match step {
            Step::When(Act::Create(Build::Claim(claim))) if claim.filled_from.is_none() => {
                Some(claim_said(claim))
            }
            _ => None,
        },
    ),
    phrase(
        When,
        r#"a claim "{name:name}"[ on "{class:word}"][ of {capacity:size}] that "{from:name}" fills is created"#,
        |words| Ok(Step::When(Act::Create(Build::Claim(claim(words)?)))),
        |step| match step {
            Step::When(Act::Create(Build::Claim(claim))) => Some(claim_said(claim)),
            _ => None,
        },
    ),
    phrase(
        When,
        r#"the workload changes {changed:n}, adds {added:n} and removes {removed:n} files of "{volume:name}" from seed {seed:n}"#,
        |words| {
            Ok(Step::When(Act::Change {
                volume: words.get("volume")?,
                by: ChangeSpec {
                    changed: words.get("changed")?,
                    added: words.get("added")?,
                    removed: words.get("removed")?,
                    seed: words.get("seed")?,
                },
            }))
        },
        |step| match step {
            Step::When(Act::Change { volume, by }) => Some(
                Said::new()
                    .with("volume", volume)
                    .with("changed", by.changed)
                    .with("added", by.added)
                    .with("removed", by.removed)
                    .with("seed", by.seed),
            ),
            _ => None,
        },
    ),
    phrase(
        When,
        r#"the workload writes "{text:text}" to "{path:text}" of "{volume:name}""#,
        |words| {
            Ok(Step::When(Act::Write {
                volume: words.get("volume")?,
                path: words.get("path")?,
                text: words.get("text")?,
            }))
        },
        |step| match step {
            Step::When(Act::Write { volume, path, text }) if !path.contains('"') && !text.contains('"') => {
                Some(Said::new().with("volume", volume).with("path", path).with("text", text))
            }
            _ => None,
        },
    ),
];

fn volume_said(volume: &Volume) -> Said {
    Said::new()
        .with("name", &volume.name)
        .maybe("class", volume.class.as_ref())
        .maybe("capacity", volume.capacity.as_ref())
}

fn claim(words: &super::Words<'_>) -> Result<Claim, String> {
    Ok(Claim {
        name: words.get("name")?,
        filled_from: words.maybe("from")?,
        class: words.maybe("class")?,
        capacity: words.maybe::<ByteSize>("capacity")?,
    })
}

fn claim_said(claim: &Claim) -> Said {
    Said::new()
        .with("name", &claim.name)
        .maybe("class", claim.class.as_ref())
        .maybe("capacity", claim.capacity.as_ref())
        .maybe("from", claim.filled_from.as_ref())
}
