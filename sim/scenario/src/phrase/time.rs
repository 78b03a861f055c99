//! Phrases about time: what passes, what is waited for, which moments get a name.

use super::{
    Keyword::*,
    Phrase, Said, phrase,
    replication::{count_of, times_said},
};
use crate::{
    name::ObjectRef,
    step::{Act, Await, Step},
};

pub(super) const PHRASES: &[Phrase] = &[
    phrase(
        When,
        "{span:span} pass",
        |words| Ok(Step::When(Act::Pass(words.get("span")?))),
        |step| match step {
            Step::When(Act::Pass(span)) => Some(Said::new().with("span", span)),
            _ => None,
        },
    ),
    phrase(
        When,
        r#"{count:n} sync periods of "{of:name}" pass"#,
        |words| Ok(Step::When(Act::PassPeriods { of: words.get("of")?, count: words.get("count")? })),
        |step| match step {
            Step::When(Act::PassPeriods { of, count }) => {
                Some(Said::new().with("of", of).with("count", count))
            }
            _ => None,
        },
    ),
    phrase(
        When,
        r#""{source:name}" synchronises {times:times} more"#,
        |words| {
            let times = count_of(&words.get::<String>("times")?)?;
            Ok(Step::When(Act::Await(Await::Synchronised { source: words.get("source")?, times })))
        },
        |step| match step {
            Step::When(Act::Await(Await::Synchronised { source, times })) => {
                Some(Said::new().with("source", source).with("times", times_said(*times)))
            }
            _ => None,
        },
    ),
    phrase(
        When,
        r#""{source:name}" has synchronised {times:times}"#,
        |words| {
            let times = count_of(&words.get::<String>("times")?)?;
            Ok(Step::When(Act::Await(Await::HasSynchronised { source: words.get("source")?, times })))
        },
        |step| match step {
            Step::When(Act::Await(Await::HasSynchronised { source, times })) => {
                Some(Said::new().with("source", source).with("times", times_said(*times)))
            }
            _ => None,
        },
    ),
    phrase(
        When,
        r#"the mover of "{of:name}" has started"#,
        |words| Ok(Step::When(Act::Await(Await::MoverStarted(words.get("of")?)))),
        |step| match step {
            Step::When(Act::Await(Await::MoverStarted(of))) => Some(Said::new().with("of", of)),
            _ => None,
        },
    ),
    phrase(
        When,
        r#"a run of "{of:name}" fails"#,
        |words| Ok(Step::When(Act::Await(Await::Failed(words.get("of")?)))),
        |step| match step {
            Step::When(Act::Await(Await::Failed(of))) => Some(Said::new().with("of", of)),
            _ => None,
        },
    ),
    phrase(
        When,
        r#""{destination:name}" completes"#,
        |words| Ok(Step::When(Act::Await(Await::Restored(words.get("destination")?)))),
        |step| match step {
            Step::When(Act::Await(Await::Restored(destination))) => {
                Some(Said::new().with("destination", destination))
            }
            _ => None,
        },
    ),
    phrase(
        When,
        r#"the claim "{claim:name}" is bound"#,
        |words| Ok(Step::When(Act::Await(Await::Bound(words.get("claim")?)))),
        |step| match step {
            Step::When(Act::Await(Await::Bound(claim))) => Some(Said::new().with("claim", claim)),
            _ => None,
        },
    ),
    phrase(
        When,
        r#"an event of the {kind:kind} "{name:name}" says "{contains:text}""#,
        |words| {
            let object = ObjectRef::new(words.get::<String>("kind")?, words.get("name")?);
            Ok(Step::When(Act::Await(Await::Event { object, contains: words.get("contains")? })))
        },
        |step| match step {
            Step::When(Act::Await(Await::Event { object, contains })) if !contains.contains('"') => Some(
                Said::new().with("kind", &object.kind).with("name", &object.name).with("contains", contains),
            ),
            _ => None,
        },
    ),
    phrase(
        When,
        r#"a condition of the {kind:kind} "{name:name}" says "{contains:text}""#,
        |words| {
            let object = ObjectRef::new(words.get::<String>("kind")?, words.get("name")?);
            Ok(Step::When(Act::Await(Await::Condition { object, contains: words.get("contains")? })))
        },
        |step| match step {
            Step::When(Act::Await(Await::Condition { object, contains })) if !contains.contains('"') => Some(
                Said::new().with("kind", &object.kind).with("name", &object.name).with("contains", contains),
            ),
            _ => None,
        },
    ),
    phrase(
        When,
        r#"this moment is called "{moment:word}""#,
        |words| Ok(Step::When(Act::Remember(words.get("moment")?))),
        |step| match step {
            Step::When(Act::Remember(moment)) => Some(Said::new().with("moment", moment)),
            _ => None,
        },
    ),
];
