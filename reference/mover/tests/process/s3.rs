//! Repositories in S3 buckets, as a mover in a pod meets them: keys of a Secret, a mounted CA, a network.
use std::fs;

use contract::ExitCode;

use crate::{
    s3_server::{ACCESS_KEY, BUCKET, CA, SECRET_KEY, Server, Weather},
    stage::{Ended, Job, Stage, listing},
};

/// A job whose repository is below `apps` in the server's bucket.
fn into(job: Job, server: &Server) -> Job {
    job.with("KOPIA_REPOSITORY", format!("s3://{BUCKET}/apps"))
        .with("KOPIA_S3_ENDPOINT", server.address)
        .with("KOPIA_S3_DISABLE_TLS", "true")
        .with("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .with("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .with("S3_RETRY_SECONDS", 2)
}

fn failed(ended: &Ended, code: ExitCode, words: &str) {
    let failure = ended.outcome.failed().unwrap_or_else(|| panic!("it succeeded:\n{}", ended.log));
    assert_eq!((failure.code, ended.code), (code, Some(code.number())), "{}", ended.log);
    assert!(failure.message.contains(words), "{}", failure.message);
    assert!(!ended.log.contains(SECRET_KEY), "a key is in the log:\n{}", ended.log);
}

#[test]
fn a_bucket_behind_a_company_ca_is_backed_up_to_restored_from_and_maintained() {
    let (stage, server) = (Stage::filled(), Server::start(true));
    let ca = stage.path("ca.crt");
    fs::write(&ca, CA).expect("written");
    let https =
        |job: Job| into(job, &server).with("KOPIA_S3_DISABLE_TLS", "").with("CUSTOM_CA", ca.display());
    let ended = https(stage.backup()).run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(server.folder.path().join(BUCKET).join("apps/kopia.repository").is_file());
    let ended = https(stage.restore()).run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(listing(&stage.restored()), listing(&stage.data()));
    let ended = https(stage.maintenance()).run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    // Without the CA nobody vouches for the server, and waiting would not help.
    let ended = https(stage.restore()).with("CUSTOM_CA", "").run();
    failed(&ended, ExitCode::Misconfigured, "custom CA");
    let ended = https(stage.restore()).with("CUSTOM_CA", "/absent/ca.crt").run();
    failed(&ended, ExitCode::Misconfigured, "/absent/ca.crt");
}

#[test]
fn wrong_keys_places_and_networks_are_told_apart_and_nothing_is_created() {
    let (stage, server) = (Stage::filled(), Server::start(false));
    let job = || into(stage.backup(), &server);
    failed(
        &job().with("AWS_SECRET_ACCESS_KEY", "other").run(),
        ExitCode::RepositoryUnreachable,
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    );
    failed(&job().with("AWS_ACCESS_KEY_ID", "").run(), ExitCode::Misconfigured, "AWS_ACCESS_KEY_ID");
    let absent = job().with("KOPIA_REPOSITORY", "s3://absent-bucket/apps").run();
    failed(&absent, ExitCode::Misconfigured, "create the bucket");
    let nobody = job().with("KOPIA_S3_ENDPOINT", "127.0.0.1:1").run();
    failed(&nobody, ExitCode::RepositoryUnreachable, "no answer");
    let no_name = job().with("KOPIA_S3_ENDPOINT", "minio.invalid:9000").run();
    failed(&no_name, ExitCode::RepositoryUnreachable, "no answer");
    server.weather(|_, _| Weather::Refuse(503, "SlowDown"));
    failed(&job().run(), ExitCode::RepositoryUnreachable, "503 SlowDown");
    server.weather(|_, _| Weather::Fair);
    assert!(!server.folder.path().join(BUCKET).join("apps").exists(), "something was written");
    // What was bad weather only is forgotten.
    let mut refusals = 0;
    server.weather(move |_, _| {
        refusals += 1;
        if refusals % 3 == 0 { Weather::Refuse(503, "SlowDown") } else { Weather::Fair }
    });
    let ended = job().with("S3_RETRY_SECONDS", "").run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let ended = into(stage.restore(), &server).with("S3_RETRY_SECONDS", "").run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(listing(&stage.restored()), listing(&stage.data()));
}
