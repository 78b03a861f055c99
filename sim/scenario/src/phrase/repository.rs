//! Phrases about repositories: where their bytes are, what opens them, and whether they verify.

use super::{Keyword::*, Phrase, Said, phrase};
use crate::{
    expect::Expect,
    step::{Build, Place, Repository, Step},
};

pub(super) const PHRASES: &[Phrase] = &[
    phrase(
        Given,
        r#"a repository "{name:name}"[ with password "{password:text}"]"#,
        |words| {
            Ok(Step::Given(Build::Repository(Repository {
                name: words.get("name")?,
                on: None,
                password: words.maybe("password")?,
            })))
        },
        |step| match step {
            Step::Given(Build::Repository(repository @ Repository { on: None, .. })) => {
                Some(said(repository))
            }
            _ => None,
        },
    ),
    phrase(
        Given,
        r#"a repository "{name:name}" in bucket "{bucket:word}"[ with password "{password:text}"]"#,
        |words| {
            Ok(Step::Given(Build::Repository(Repository {
                name: words.get("name")?,
                on: Some(Place::Bucket(words.get("bucket")?)),
                password: words.maybe("password")?,
            })))
        },
        |step| match step {
            Step::Given(Build::Repository(
                repository @ Repository { on: Some(Place::Bucket(bucket)), .. },
            )) => Some(said(repository).with("bucket", bucket)),
            _ => None,
        },
    ),
    phrase(
        Given,
        r#"a repository "{name:name}" in bucket "{bucket:word}" over TLS[ with password "{password:text}"]"#,
        |words| {
            Ok(Step::Given(Build::Repository(Repository {
                name: words.get("name")?,
                on: Some(Place::TlsBucket(words.get("bucket")?)),
                password: words.maybe("password")?,
            })))
        },
        |step| match step {
            Step::Given(Build::Repository(
                repository @ Repository { on: Some(Place::TlsBucket(bucket)), .. },
            )) => Some(said(repository).with("bucket", bucket)),
            _ => None,
        },
    ),
    phrase(
        Given,
        r#"a repository "{name:name}" on the claim "{claim:name}"[ with password "{password:text}"]"#,
        |words| {
            Ok(Step::Given(Build::Repository(Repository {
                name: words.get("name")?,
                on: Some(Place::Claim(words.get("claim")?)),
                password: words.maybe("password")?,
            })))
        },
        |step| match step {
            Step::Given(Build::Repository(repository @ Repository { on: Some(Place::Claim(claim)), .. })) => {
                Some(said(repository).with("claim", claim))
            }
            _ => None,
        },
    ),
    phrase(
        Given,
        r#"a repository "{name:name}" on the NFS export "{export:word}"[ with password "{password:text}"]"#,
        |words| {
            Ok(Step::Given(Build::Repository(Repository {
                name: words.get("name")?,
                on: Some(Place::NfsExport(words.get("export")?)),
                password: words.maybe("password")?,
            })))
        },
        |step| match step {
            Step::Given(Build::Repository(
                repository @ Repository { on: Some(Place::NfsExport(export)), .. },
            )) => Some(said(repository).with("export", export)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the repository "{name:name}" verifies"#,
        |words| Ok(Step::Then(Expect::RepositoryVerifies(words.get("name")?))),
        |step| match step {
            Step::Then(Expect::RepositoryVerifies(name)) => Some(Said::new().with("name", name)),
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"verifying the repository "{name:name}" names exactly {paths:list}"#,
        |words| {
            let list = words.get::<String>("paths")?;
            let naming = list.split(", ").map(|path| path.trim_matches('"').to_owned()).collect();
            Ok(Step::Then(Expect::RepositoryFails { repository: words.get("name")?, naming }))
        },
        |step| match step {
            Step::Then(Expect::RepositoryFails { repository, naming }) if !naming.is_empty() => {
                let list: Vec<_> = naming.iter().map(|path| format!("\"{path}\"")).collect();
                Some(Said::new().with("name", repository).with("paths", list.join(", ")))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the repository "{name:name}" restores on another machine to what "{volume:name}" held"#,
        |words| {
            let (repository, volume) = (words.get("name")?, words.get("volume")?);
            Ok(Step::Then(Expect::RestoresElsewhere { repository, volume }))
        },
        |step| match step {
            Step::Then(Expect::RestoresElsewhere { repository, volume }) => {
                Some(Said::new().with("name", repository).with("volume", volume))
            }
            _ => None,
        },
    ),
    phrase(
        Then,
        r#"the repository "{name:name}" is still the same"#,
        |words| Ok(Step::Then(Expect::SameRepository(words.get("name")?))),
        |step| match step {
            Step::Then(Expect::SameRepository(name)) => Some(Said::new().with("name", name)),
            _ => None,
        },
    ),
];

fn said(repository: &Repository) -> Said {
    Said::new().with("name", &repository.name).maybe("password", repository.password.as_ref())
}
