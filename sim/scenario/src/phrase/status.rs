//! Phrases about what an operator sees: status, conditions, events, logs, metrics.

use super::{Below, Keyword::*, Phrase, Said, Words, phrase};
use crate::{
    expect::{Expect, RunResult},
    name::ObjectRef,
    step::Step,
};

pub(super) const PHRASES: &[Phrase] = &[
    phrase(
        Then,
        r#"the last run of the {kind:kind} "{name:name}" was {result:result}"#,
        |words| {
            let result = match words.get::<String>("result")?.as_str() {
                "successful" => RunResult::Successful,
                _ => RunResult::Failed,
            };
            Ok(Step::Then(Expect::LastRun { of: object(words)?, result }))
        },
        |step| match step {
            Step::Then(Expect::LastRun { of, result }) => Some(object_said(of).with(
                "result",
                match result {
                    RunResult::Successful => "successful",
                    RunResult::Failed => "failed",
                },
            )),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"a Job of "{of:name}" has failed"#,
        |words| Ok(Step::Then(Expect::JobFailed(words.get("of")?))),
        |step| match step {
            Step::Then(Expect::JobFailed(of)) => Some(Said::new().with("of", of)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the mover's log of the {kind:kind} "{name:name}" says "{contains:text}""#,
        |words| Ok(Step::Then(Expect::MoverLog { of: object(words)?, contains: words.get("contains")? })),
        |step| match step {
            Step::Then(Expect::MoverLog { of, contains }) if !contains.contains('"') => {
                Some(object_said(of).with("contains", contains))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#""{destination:name}" offers an image"#,
        |words| Ok(Step::Then(Expect::LatestImage { destination: words.get("destination")?, present: true })),
        |step| match step {
            Step::Then(Expect::LatestImage { destination, present: true }) => {
                Some(Said::new().with("destination", destination))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#""{destination:name}" offers no image"#,
        |words| {
            Ok(Step::Then(Expect::LatestImage { destination: words.get("destination")?, present: false }))
        },
        |step| match step {
            Step::Then(Expect::LatestImage { destination, present: false }) => {
                Some(Said::new().with("destination", destination))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#""{destination:name}" calls nothing restored"#,
        |words| Ok(Step::Then(Expect::NothingRestored(words.get("destination")?))),
        |step| match step {
            Step::Then(Expect::NothingRestored(destination)) => {
                Some(Said::new().with("destination", destination))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the {class:kind} condition of the {kind:kind} "{name:name}" says "{contains:text}""#,
        |words| {
            Ok(Step::Then(Expect::Condition {
                object: object(words)?,
                class: words.maybe("class")?,
                contains: words.get("contains")?,
            }))
        },
        |step| match step {
            Step::Then(Expect::Condition { object, class: class @ Some(_), contains })
                if !contains.contains('"') =>
            {
                Some(object_said(object).maybe("class", class.as_ref()).with("contains", contains))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"a condition of the {kind:kind} "{name:name}" says "{contains:text}""#,
        |words| {
            Ok(Step::Then(Expect::Condition {
                object: object(words)?,
                class: None,
                contains: words.get("contains")?,
            }))
        },
        |step| match step {
            Step::Then(Expect::Condition { object, class: None, contains }) if !contains.contains('"') => {
                Some(object_said(object).with("contains", contains))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"an event of the {kind:kind} "{name:name}" has said "{contains:text}""#,
        |words| {
            Ok(Step::Then(Expect::Event {
                object: object(words)?,
                class: None,
                contains: words.get("contains")?,
            }))
        },
        |step| match step {
            Step::Then(Expect::Event { object, class: None, contains }) if !contains.contains('"') => {
                Some(object_said(object).with("contains", contains))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"a {class:kind} event of the {kind:kind} "{name:name}" has said "{contains:text}""#,
        |words| {
            Ok(Step::Then(Expect::Event {
                object: object(words)?,
                class: words.maybe("class")?,
                contains: words.get("contains")?,
            }))
        },
        |step| match step {
            Step::Then(Expect::Event { object, class: class @ Some(_), contains })
                if !contains.contains('"') =>
            {
                Some(object_said(object).maybe("class", class.as_ref()).with("contains", contains))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#""{source:name}" is reported as overdue"#,
        |words| Ok(Step::Then(Expect::Overdue { source: words.get("source")?, overdue: true })),
        |step| match step {
            Step::Then(Expect::Overdue { source, overdue: true }) => Some(Said::new().with("source", source)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#""{source:name}" is not reported as overdue"#,
        |words| Ok(Step::Then(Expect::Overdue { source: words.get("source")?, overdue: false })),
        |step| match step {
            Step::Then(Expect::Overdue { source, overdue: false }) => {
                Some(Said::new().with("source", source))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the metric "{name:word}" is {value:number}"#,
        |words| {
            let value: serde_json::Number = words.get("value")?;
            Ok(Step::Then(Expect::Metric {
                name: words.get("name")?,
                labels: words.fields()?,
                value: value.into(),
            }))
        },
        |step| match step {
            Step::Then(Expect::Metric { name, labels, value: value @ json::Value::Number(_) }) => {
                Some(Said::new().with("name", name).with("value", value).fields(labels))
            }
            _ => None,
        },
    )
    .below(Below::Fields),
];

fn object(words: &Words<'_>) -> Result<ObjectRef, String> {
    Ok(ObjectRef::new(words.get::<String>("kind")?, words.get("name")?))
}

fn object_said(object: &ObjectRef) -> Said {
    Said::new().with("kind", &object.kind).with("name", &object.name)
}
