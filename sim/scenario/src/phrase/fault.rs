//! Phrases about faults: armed by name, fired, lifted.

use super::{Below, Keyword::*, Phrase, Said, Words, phrase};
use crate::{
    expect::Expect,
    step::{Act, Build, FaultSpec, Step},
};

pub(super) const PHRASES: &[Phrase] = &[
    phrase(
        Given,
        r#"the fault "{name:word}""#,
        |words| Ok(Step::Given(Build::Fault(fault(words)?))),
        |step| match step {
            Step::Given(Build::Fault(fault)) => Some(said(fault)),
            _ => None,
        },
    )
    .below(Below::Fields),
    phrase(
        When,
        r#"the fault "{name:word}" begins"#,
        |words| Ok(Step::When(Act::Create(Build::Fault(fault(words)?)))),
        |step| match step {
            Step::When(Act::Create(Build::Fault(fault))) => Some(said(fault)),
            _ => None,
        },
    )
    .below(Below::Fields),
    phrase(
        When,
        r#"the fault "{name:word}" ends"#,
        |words| Ok(Step::When(Act::Lift(words.get("name")?))),
        |step| match step {
            Step::When(Act::Lift(name)) => Some(Said::new().with("name", name)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the fault "{name:word}" has fired"#,
        |words| Ok(Step::Then(Expect::FaultFired(words.get("name")?))),
        |step| match step {
            Step::Then(Expect::FaultFired(name)) => Some(Said::new().with("name", name)),
            _ => None,
        },
    ),
];

fn fault(words: &Words<'_>) -> Result<FaultSpec, String> {
    Ok(FaultSpec { name: words.get("name")?, with: words.fields()? })
}

fn said(fault: &FaultSpec) -> Said {
    Said::new().with("name", &fault.name).fields(&fault.with)
}
