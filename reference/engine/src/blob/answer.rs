//! What a bucket's refusal means.
//!
//! `object_store` tells a status and the server's own text; S3 tells its reason in the text (`<Code>`), and
//! sometimes two reasons share a status: a bucket that does not exist answers 404 as a missing object does.
//! [`error`] sorts them into the kinds that a caller decides by and keeps the server's words, without the
//! markup and without the request's address.
use object_store::client::{HttpError, HttpErrorKind};

use crate::store::{Error, ErrorKind};

/// A refusal as the store seam tells it.
pub fn error(error: object_store::Error, operation: &'static str, id: &str) -> Error {
    let answer = Answer::read(&error);
    Error::new(answer.kind(&error), operation, id, answer.words(&error))
}

/// What could be read out of a refusal.
#[derive(Debug, Default)]
struct Answer {
    status: Option<u16>,
    code: String,
    message: String,
    /// The transport's failure, when there was no answer.
    transport: Option<(HttpErrorKind, String)>,
}

impl Answer {
    fn read(error: &object_store::Error) -> Self {
        let mut answer = Self::default();
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(http) = error.downcast_ref::<HttpError>() {
                answer.transport = Some((http.kind(), innermost(http)));
                break;
            }
            let text = error.to_string();
            if let Some((_, rest)) = text.split_once("status code: ") {
                answer.status = rest.get(..3).and_then(|digits| digits.parse().ok());
                // A proxy, or a port that speaks another language, answers in plain words.
                let plain = rest.split_once(": ").map_or("", |(_, body)| body.trim());
                if !plain.contains('<') {
                    plain
                        .chars()
                        .take(200)
                        .collect::<String>()
                        .trim_end_matches('.')
                        .clone_into(&mut answer.message);
                }
            }
            if text.contains("Received redirect") {
                answer.status = Some(301);
            }
            answer.code = element(&text, "Code").unwrap_or(&answer.code).to_owned();
            answer.message = element(&text, "Message").unwrap_or(&answer.message).to_owned();
            cause = error.source();
        }
        answer
    }

    fn kind(&self, error: &object_store::Error) -> ErrorKind {
        match self.code.as_str() {
            "NoSuchBucket"
            | "InvalidBucketName"
            | "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
            | "InvalidRegion" => return ErrorKind::Misconfigured,
            "NoSuchKey" => return ErrorKind::NotFound,
            "InvalidRange" => return ErrorKind::Truncated,
            "QuotaExceeded"
            | "XMinioStorageFull"
            | "XMinioAdminBucketQuotaExceeded"
            | "EntityTooLarge"
            | "InsufficientStorage" => return ErrorKind::NoSpace,
            "AccessDenied"
            | "AllAccessDisabled"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "RequestTimeTooSkewed" => return ErrorKind::Denied,
            "SlowDown" | "SlowDownRead" | "SlowDownWrite" | "ServiceUnavailable" | "InternalError" => {
                return ErrorKind::Unavailable;
            }
            _ => {}
        }
        if let Some((kind, text)) = &self.transport {
            return match kind {
                // A certificate that is not trusted stays so.
                _ if is_certificate(text) => ErrorKind::Misconfigured,
                HttpErrorKind::Decode => ErrorKind::Io,
                _ => ErrorKind::Unavailable,
            };
        }
        match (error, self.status) {
            (object_store::Error::NotFound { .. }, _) => ErrorKind::NotFound,
            (object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }, _) => {
                ErrorKind::Exists
            }
            (
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. },
                _,
            ) => ErrorKind::Denied,
            (object_store::Error::InvalidPath { .. }, _) | (_, Some(300..=400)) => ErrorKind::Misconfigured,
            (_, Some(416)) => ErrorKind::Truncated,
            (_, Some(507)) => ErrorKind::NoSpace,
            (_, Some(408 | 429 | 500..=599)) => ErrorKind::Unavailable,
            _ => ErrorKind::Io,
        }
    }

    fn words(&self, error: &object_store::Error) -> String {
        let cure = match self.code.as_str() {
            "NoSuchBucket" => "; create the bucket, Kopia and this engine never do",
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" => {
                "; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            }
            "AccessDenied" | "AllAccessDisabled" => {
                "; the key needs to get, put, list and delete below the prefix"
            }
            "RequestTimeTooSkewed" => "; set the clock of the node or of the store",
            "AuthorizationHeaderMalformed" | "PermanentRedirect" => "; set AWS_REGION to the bucket's region",
            _ => "",
        };
        if let Some((_, text)) = &self.transport {
            let cure = if is_certificate(text) {
                "; name the certificate's issuer as custom CA, or set KOPIA_S3_DISABLE_TLS for a plain endpoint"
            } else {
                ""
            };
            return format!("no answer: {text}{cure}");
        }
        let status = self.status.map_or_else(String::new, |status| format!("{status} "));
        match (self.code.as_str(), self.message.as_str()) {
            ("", _) if self.status == Some(301) => {
                "redirected: the bucket lives in another region; set AWS_REGION to it".to_owned()
            }
            ("", _) if self.status == Some(403) => {
                "403 refused: check the access key and its rights".to_owned()
            }
            ("", text) if self.status.is_some() => {
                let text = if text.is_empty() { String::new() } else { format!(": {text}") };
                format!("the store answered {}{text}", status.trim_end())
            }
            ("", _) => innermost(error),
            (code, "") => format!("{status}{code}{cure}"),
            (code, message) => format!("{status}{code}: {}{cure}", message.trim_end_matches('.')),
        }
    }
}

fn is_certificate(text: &str) -> bool {
    text.contains("certificate")
        || text.contains("UnknownIssuer")
        || text.contains("received corrupt message")
}

/// The last cause of an error, which says what really happened.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    fn check(error: object_store::Error, kind: ErrorKind, detail: &str) {
        let error = super::error(error, "get", "p1");
        assert_eq!((error.kind, error.detail.as_str()), (kind, detail));
    }

    #[test]
    fn a_missing_bucket_is_no_missing_blob() {
        let body = |code: &str| {
            let text = format!(
                "Error performing GET http://h/b/p1 in 1ms - Server returned non-2xx status code: 404 Not Found: \
                 <?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>It does not exist.</Message></Error>"
            );
            object_store::Error::NotFound { path: "p1".to_owned(), source: text.into() }
        };
        check(body("NoSuchKey"), ErrorKind::NotFound, "404 NoSuchKey: It does not exist");
        check(
            body("NoSuchBucket"),
            ErrorKind::Misconfigured,
            "404 NoSuchBucket: It does not exist; create the bucket, Kopia and this engine never do",
        );
    }

    #[test]
    fn refusals_fall_into_kinds() {
        let status = |status: &str| generic(&format!("x - Server returned non-2xx status code: {status}: "));
        check(status("503 Service Unavailable"), ErrorKind::Unavailable, "the store answered 503");
        check(status("507 Insufficient Storage"), ErrorKind::NoSpace, "the store answered 507");
        check(status("416 Range Not Satisfiable"), ErrorKind::Truncated, "the store answered 416");
        check(
            generic(
                "status code: 403 Forbidden: <Code>RequestTimeTooSkewed</Code><Message>Too far.</Message>",
            ),
            ErrorKind::Denied,
            "403 RequestTimeTooSkewed: Too far; set the clock of the node or of the store",
        );
        check(
            generic(
                "Received redirect without LOCATION, this normally indicates an incorrectly configured region",
            ),
            ErrorKind::Misconfigured,
            "redirected: the bucket lives in another region; set AWS_REGION to it",
        );
        let silent = HttpError::new(HttpErrorKind::Connect, std::io::Error::other("connection refused"));
        check(
            object_store::Error::Generic { store: "S3", source: Box::new(silent) },
            ErrorKind::Unavailable,
            "no answer: connection refused",
        );
    }
}
