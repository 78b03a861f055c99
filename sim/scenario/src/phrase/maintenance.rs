//! Phrases about the maintenance of repositories.

use super::{Below, Keyword::*, Phrase, Said, Words, phrase};
use crate::{
    expect::Expect,
    step::{Act, Build, Maintenance, Step},
};

pub(super) const PHRASES: &[Phrase] = &[
    phrase(
        Given,
        r#"a maintenance "{name:name}" of "{of:name}" at "{schedule:cron}""#,
        |words| Ok(Step::Given(Build::Maintenance(maintenance(words)?))),
        |step| match step {
            Step::Given(Build::Maintenance(maintenance)) => Some(said(maintenance)),
            _ => None,
        },
    )
    .below(Below::Fields),
    phrase(
        When,
        r#"a maintenance "{name:name}" of "{of:name}" at "{schedule:cron}" is created"#,
        |words| Ok(Step::When(Act::Create(Build::Maintenance(maintenance(words)?)))),
        |step| match step {
            Step::When(Act::Create(Build::Maintenance(maintenance))) => Some(said(maintenance)),
            _ => None,
        },
    )
    .below(Below::Fields),
    phrase(
        Then,
        r#"the repository "{name:name}" is maintained by "{owner:word}""#,
        |words| {
            Ok(Step::Then(Expect::MaintenanceOwner {
                repository: words.get("name")?,
                owner: words.get("owner")?,
            }))
        },
        |step| match step {
            Step::Then(Expect::MaintenanceOwner { repository, owner }) => {
                Some(Said::new().with("name", repository).with("owner", owner))
            }
            _ => None,
        },
    ),
];

fn maintenance(words: &Words<'_>) -> Result<Maintenance, String> {
    Ok(Maintenance {
        name: words.get("name")?,
        of: words.get("of")?,
        schedule: words.get("schedule")?,
        fields: words.fields()?,
    })
}

fn said(maintenance: &Maintenance) -> Said {
    Said::new()
        .with("name", &maintenance.name)
        .with("of", &maintenance.of)
        .with("schedule", &maintenance.schedule)
        .fields(&maintenance.fields)
}
