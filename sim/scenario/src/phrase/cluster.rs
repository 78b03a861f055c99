//! Phrases about the cluster: manifests, deletions, changes of objects, pods, drivers, a runbook's lines.

use super::{Below, Keyword::*, Phrase, Said, Words, phrase};
use crate::{
    expect::Expect,
    name::ObjectRef,
    step::{Act, Build, Step},
};

pub(super) const PHRASES: &[Phrase] = &[
    phrase(
        Given,
        "these manifests",
        |words| Ok(Step::Given(Build::Manifests(words.document()))),
        |step| match step {
            Step::Given(Build::Manifests(text)) => Some(Said::new().document(text)),
            _ => None,
        },
    )
    .sample("kind: Namespace\nmetadata: {name: media}"),
    phrase(
        When,
        "these manifests are applied",
        |words| Ok(Step::When(Act::Create(Build::Manifests(words.document())))),
        |step| match step {
            Step::When(Act::Create(Build::Manifests(text))) => Some(Said::new().document(text)),
            _ => None,
        },
    )
    .sample("kind: Namespace\nmetadata: {name: media}"),
    phrase(
        Given,
        r#"a namespace "{namespace:word}""#,
        |words| Ok(Step::Given(Build::Namespace(words.get("namespace")?))),
        |step| match step {
            Step::Given(Build::Namespace(namespace)) => Some(Said::new().with("namespace", namespace)),
            _ => None,
        },
    ),
    phrase(
        When,
        r#"the namespace "{namespace:word}" is created again"#,
        |words| Ok(Step::When(Act::Create(Build::Namespace(words.get("namespace")?)))),
        |step| match step {
            Step::When(Act::Create(Build::Namespace(namespace))) => {
                Some(Said::new().with("namespace", namespace))
            }
            _ => None,
        },
    ),
    phrase(
        When,
        r#"the {kind:kind} "{name:name}" is deleted"#,
        |words| Ok(Step::When(Act::Delete(object(words)?))),
        |step| match step {
            Step::When(Act::Delete(object)) => Some(object_said(object)),
            _ => None,
        },
    ),
    phrase(
        When,
        r#"the {kind:kind} "{name:name}" is lost"#,
        |words| Ok(Step::When(Act::Destroy(object(words)?))),
        |step| match step {
            Step::When(Act::Destroy(object)) => Some(object_said(object)),
            _ => None,
        },
    ),
    phrase(
        When,
        r#"the {kind:kind} "{name:name}" is set to"#,
        |words| Ok(Step::When(Act::Configure { object: object(words)?, fields: words.fields()? })),
        |step| match step {
            Step::When(Act::Configure { object, fields }) => Some(object_said(object).fields(fields)),
            _ => None,
        },
    )
    .below(Below::NeedsFields),
    phrase(
        When,
        r#"the mover of "{of:name}" is evicted"#,
        |words| Ok(Step::When(Act::EvictMover(words.get("of")?))),
        |step| match step {
            Step::When(Act::EvictMover(of)) => Some(Said::new().with("of", of)),
            _ => None,
        },
    ),
    phrase(
        When,
        r#"the mover of "{of:name}" gets signal {signal:n}"#,
        |words| Ok(Step::When(Act::SignalMover { of: words.get("of")?, signal: words.get("signal")? })),
        |step| match step {
            Step::When(Act::SignalMover { of, signal }) => {
                Some(Said::new().with("of", of).with("signal", signal))
            }
            _ => None,
        },
    ),
    phrase(
        When,
        r#"the pods of the namespace "{namespace:word}" are drained"#,
        |words| Ok(Step::When(Act::Drain(words.get("namespace")?))),
        |step| match step {
            Step::When(Act::Drain(namespace)) => Some(Said::new().with("namespace", namespace)),
            _ => None,
        },
    ),
    phrase(
        When,
        r#"the CSI driver "{driver:word}" restarts"#,
        |words| Ok(Step::When(Act::RestartCsi(words.get("driver")?))),
        |step| match step {
            Step::When(Act::RestartCsi(driver)) => Some(Said::new().with("driver", driver)),
            _ => None,
        },
    ),
    phrase(
        When,
        r"the operator runs[ to {why:text}]",
        |words| {
            Ok(Step::When(Act::Run {
                why: words.maybe("why")?.unwrap_or_default(),
                line: words.document().parse()?,
            }))
        },
        |step| match step {
            Step::When(Act::Run { why, line }) if !why.contains('"') => Some(
                Said::new().maybe("why", Some(why).filter(|why| !why.is_empty())).document(&line.to_string()),
            ),
            _ => None,
        },
    )
    .sample("kubectl -n media delete volumesnapshot stuck"),
    phrase(
        Then,
        r#"the {kind:kind} "{name:name}" exists"#,
        |words| Ok(Step::Then(Expect::Exists { object: object(words)?, present: true })),
        |step| match step {
            Step::Then(Expect::Exists { object, present: true }) => Some(object_said(object)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the {kind:kind} "{name:name}" does not exist"#,
        |words| Ok(Step::Then(Expect::Exists { object: object(words)?, present: false })),
        |step| match step {
            Step::Then(Expect::Exists { object, present: false }) => Some(object_said(object)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the {kind:kind} "{name:name}" has"#,
        |words| Ok(Step::Then(Expect::Object { object: object(words)?, has: words.fields()? })),
        |step| match step {
            Step::Then(Expect::Object { object, has }) => Some(object_said(object).fields(has)),
            _ => None,
        },
    )
    .below(Below::NeedsFields),
];

fn object(words: &Words<'_>) -> Result<ObjectRef, String> {
    Ok(ObjectRef::new(words.get::<String>("kind")?, words.get("name")?))
}

fn object_said(object: &ObjectRef) -> Said {
    Said::new().with("kind", &object.kind).with("name", &object.name)
}
