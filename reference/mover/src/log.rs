//! Lines for the log, with secrets taken out.
//!
//! The controller of the original keeps the end of the log in a status, so its lines are part of the
//! behaviour. Nothing here is evidence: what a run came to stands in the outcome.
use std::sync::Arc;

use contract::{Location, Request};

/// Secrets shorter than this are not looked for: they would be found in ordinary words.
const SECRET_CHARS_MIN: usize = 6;

/// Writes lines to the door.
#[derive(Clone)]
pub struct Log {
    sink: Arc<dyn Fn(&str) + Send + Sync>,
    secrets: Vec<String>,
}

impl Log {
    /// A log that knows the request's secrets.
    pub fn new(sink: Arc<dyn Fn(&str) + Send + Sync>, request: &Request) -> Self {
        let mut secrets = vec![request.password.expose().to_owned()];
        if let Location::S3 { secret_key, session_token, .. } = &request.location {
            secrets.extend([secret_key.expose().to_owned(), session_token.expose().to_owned()]);
        }
        secrets.retain(|secret| secret.chars().count() >= SECRET_CHARS_MIN);
        Self { sink, secrets }
    }
    /// Writes a text line by line.
    pub fn line(&self, text: &str) {
        let clean = self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[SET]"));
        clean.split('\n').for_each(|line| (self.sink)(line));
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Mutex};

    use super::*;

    #[test]
    fn secrets_do_not_pass() {
        let pairs = [
            ("KOPIA_PASSWORD", "hunter2"),
            ("DATA_DIR", "/data"),
            ("KOPIA_REPOSITORY", "s3://bucket/x"),
            ("AWS_SECRET_ACCESS_KEY", "secretkey"),
            ("KOPIA_OVERRIDE_USERNAME", "app"),
            ("KOPIA_OVERRIDE_HOSTNAME", "media"),
        ];
        let variables: BTreeMap<String, String> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let request = Request::from_env(&["backup".to_owned()], &variables).expect("a valid request");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let log = Log::new(
            Arc::new(move |line: &str| sink.lock().expect("not poisoned").push(line.to_owned())),
            &request,
        );
        log.line("one hunter2\ntwo secretkey");
        assert_eq!(*lines.lock().expect("not poisoned"), ["one [SET]", "two [SET]"]);
    }
}
