//! Phrases about replication sources and destinations, and how often they ran.

use super::{Below, Keyword::*, Phrase, Said, Words, phrase};
use crate::{
    expect::{Count, Expect},
    name::ObjectRef,
    step::{Act, Build, ReplicationDestination, ReplicationSource, Step, Trigger},
};

pub(super) const PHRASES: &[Phrase] = &[
    phrase(
        Given,
        r#"a replication source "{name:name}" for "{of:name}" into "{into:name}"[ at "{schedule:cron}"][ on tag "{tag:word}"]"#,
        |words| Ok(Step::Given(Build::ReplicationSource(source(words)?))),
        |step| match step {
            Step::Given(Build::ReplicationSource(source)) => Some(source_said(source)),
            _ => None,
        },
    )
    .below(Below::Fields),
    phrase(
        When,
        r#"a replication source "{name:name}" for "{of:name}" into "{into:name}"[ at "{schedule:cron}"][ on tag "{tag:word}"] is created"#,
        |words| Ok(Step::When(Act::Create(Build::ReplicationSource(source(words)?)))),
        |step| match step {
            Step::When(Act::Create(Build::ReplicationSource(source))) => Some(source_said(source)),
            _ => None,
        },
    )
    .below(Below::Fields),
    phrase(
        Given,
        r#"a replication destination "{name:name}" from "{from:name}"[ of "{of:name}"][ into "{into:name}"][ at "{schedule:cron}"][ on tag "{tag:word}"]"#,
        |words| Ok(Step::Given(Build::ReplicationDestination(destination(words)?))),
        |step| match step {
            Step::Given(Build::ReplicationDestination(destination)) => Some(destination_said(destination)),
            _ => None,
        },
    )
    .below(Below::Fields),
    phrase(
        When,
        r#"a replication destination "{name:name}" from "{from:name}"[ of "{of:name}"][ into "{into:name}"][ at "{schedule:cron}"][ on tag "{tag:word}"] is created"#,
        |words| Ok(Step::When(Act::Create(Build::ReplicationDestination(destination(words)?)))),
        |step| match step {
            Step::When(Act::Create(Build::ReplicationDestination(destination))) => Some(destination_said(destination)),
            _ => None,
        },
    )
    .below(Below::Fields),
    phrase(
        When,
        r#"the {kind:kind} "{name:name}" is triggered with "{tag:word}""#,
        |words| {
            Ok(Step::When(Act::Trigger {
                object: ObjectRef::new(words.get::<String>("kind")?, words.get("name")?),
                tag: words.get("tag")?,
            }))
        },
        |step| match step {
            Step::When(Act::Trigger { object, tag }) => {
                Some(Said::new().with("kind", &object.kind).with("name", &object.name).with("tag", tag))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#""{source:name}" has synchronised {times:times}"#,
        |words| {
            let times = count_of(&words.get::<String>("times")?)?;
            Ok(Step::Then(Expect::Synchronised { source: words.get("source")?, times: Count::Exactly(times) }))
        },
        |step| match step {
            Step::Then(Expect::Synchronised { source, times: Count::Exactly(times @ 1..) }) => {
                Some(Said::new().with("source", source).with("times", times_said(*times)))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#""{source:name}" has not synchronised"#,
        |words| Ok(Step::Then(Expect::Synchronised { source: words.get("source")?, times: Count::Exactly(0) })),
        |step| match step {
            Step::Then(Expect::Synchronised { source, times: Count::Exactly(0) }) => Some(Said::new().with("source", source)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#""{source:name}" has synchronised at least {times:times}"#,
        |words| {
            let times = count_of(&words.get::<String>("times")?)?;
            Ok(Step::Then(Expect::Synchronised { source: words.get("source")?, times: Count::AtLeast(times) }))
        },
        |step| match step {
            Step::Then(Expect::Synchronised { source, times: Count::AtLeast(times) }) => {
                Some(Said::new().with("source", source).with("times", times_said(*times)))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#""{source:name}" has synchronised at most {times:times}"#,
        |words| {
            let times = count_of(&words.get::<String>("times")?)?;
            Ok(Step::Then(Expect::Synchronised { source: words.get("source")?, times: Count::AtMost(times) }))
        },
        |step| match step {
            Step::Then(Expect::Synchronised { source, times: Count::AtMost(times) }) => {
                Some(Said::new().with("source", source).with("times", times_said(*times)))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the last sync of "{source:name}" is at most {span:span} old"#,
        |words| Ok(Step::Then(Expect::LastSyncWithin { source: words.get("source")?, span: words.get("span")? })),
        |step| match step {
            Step::Then(Expect::LastSyncWithin { source, span }) => Some(Said::new().with("source", source).with("span", span)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#""{source:name}" is synchronising"#,
        |words| Ok(Step::Then(Expect::Synchronising { source: words.get("source")?, busy: true })),
        |step| match step {
            Step::Then(Expect::Synchronising { source, busy: true }) => Some(Said::new().with("source", source)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#""{source:name}" is not synchronising"#,
        |words| Ok(Step::Then(Expect::Synchronising { source: words.get("source")?, busy: false })),
        |step| match step {
            Step::Then(Expect::Synchronising { source, busy: false }) => Some(Said::new().with("source", source)),
            _ => None,
        },
    ),
];

/// How often, from a user's words.
pub(super) fn count_of(words: &str) -> Result<u32, String> {
    match words {
        "once" => Ok(1),
        "twice" => Ok(2),
        other => {
            let number = other.strip_suffix(" times").unwrap_or(other);
            number
                .parse()
                .map_err(|_| format!("{other:?} is no number of times: write once, twice or 3 times"))
        }
    }
}

/// How often, in a user's words.
pub(super) fn times_said(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        other => format!("{other} times"),
    }
}

fn trigger(words: &Words<'_>) -> Result<Trigger, String> {
    match (words.maybe("schedule")?, words.maybe("tag")?) {
        (Some(schedule), None) => Ok(Trigger::Schedule(schedule)),
        (None, Some(tag)) => Ok(Trigger::Manual(tag)),
        (None, None) => Ok(Trigger::Always),
        (Some(_), Some(_)) => {
            Err("a schedule and a tag together: set trigger.manual in the table below instead".to_owned())
        }
    }
}

fn trigger_said(said: Said, trigger: &Trigger) -> Said {
    match trigger {
        Trigger::Schedule(schedule) => said.with("schedule", schedule),
        Trigger::Manual(tag) => said.with("tag", tag),
        Trigger::Always => said,
    }
}

fn source(words: &Words<'_>) -> Result<ReplicationSource, String> {
    Ok(ReplicationSource {
        name: words.get("name")?,
        of: words.get("of")?,
        into: words.get("into")?,
        trigger: trigger(words)?,
        fields: words.fields()?,
    })
}

fn source_said(source: &ReplicationSource) -> Said {
    let said = Said::new().with("name", &source.name).with("of", &source.of).with("into", &source.into);
    trigger_said(said, &source.trigger).fields(&source.fields)
}

fn destination(words: &Words<'_>) -> Result<ReplicationDestination, String> {
    Ok(ReplicationDestination {
        name: words.get("name")?,
        from: words.get("from")?,
        of: words.maybe("of")?,
        into: words.maybe("into")?,
        trigger: trigger(words)?,
        fields: words.fields()?,
    })
}

fn destination_said(destination: &ReplicationDestination) -> Said {
    let said = Said::new()
        .with("name", &destination.name)
        .with("from", &destination.from)
        .maybe("of", destination.of.as_ref())
        .maybe("into", destination.into.as_ref());
    trigger_said(said, &destination.trigger).fields(&destination.fields)
}
