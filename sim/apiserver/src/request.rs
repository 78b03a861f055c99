//! A request taken apart, and the answer to it.

use bytes::Bytes;
use http::Method;
use json::{Value, json};

use crate::direct::{Delete, Propagation};
use crate::failure::Failure;
use crate::state::{Call, FieldValidation};
use crate::watch::WatchBody;

/// One request with its whole body.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub caller: String,
    pub method: Method,
    pub path: String,
    pub query: String,
    pub content_type: String,
    pub accept: String,
    pub user_agent: String,
    pub body: Bytes,
}

/// What is sent back.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A complete body.
    Whole { code: u16, content_type: &'static str, body: Bytes, warnings: Vec<String> },
    /// A stream of watch events.
    Watch(Box<WatchBody>),
}

impl Answer {
    pub fn json(code: u16, value: &Value) -> Self {
        Self::bytes(code, Bytes::from(value.to_string()))
    }

    pub fn bytes(code: u16, body: Bytes) -> Self {
        Self::Whole { code, content_type: "application/json", body, warnings: Vec::new() }
    }

    pub fn text(body: impl Into<Bytes>) -> Self {
        Self::Whole { code: 200, content_type: "text/plain", body: body.into(), warnings: Vec::new() }
    }

    pub fn warning(self, more: Vec<String>) -> Self {
        match self {
            Self::Whole { code, content_type, body, .. } => {
                Self::Whole { code, content_type, body, warnings: more }
            }
            Self::Watch(body) => Self::Watch(body),
        }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self::json(failure.code, &failure.to_status())
    }
}

/// The parameters behind the question mark.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key, true), unescape(value, true))
        });
        Self(pairs.collect())
    }

    pub fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    pub fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), "true" | "1")
    }

    pub fn number(&self, key: &str) -> Result<Option<u64>, Failure> {
        match self.get(key) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Failure::bad_request(format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
            }),
        }
    }
}

/// Decodes `%xx`, and in queries `+`.
pub(crate) fn unescape(text: &str, is_query: bool) -> String {
    let mut two = [0_u8];
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' if is_query => bytes.push(b' '),
            b'%' if tail.len() >= 2 => match hex::decode_to_slice(&tail[..2], &mut two) {
                Ok(()) => {
                    bytes.extend(two);
                    rest = &tail[2..];
                }
                Err(_) => bytes.push(b'%'),
            },
            other => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Request {
    /// Who asks, and how the write is meant.
    pub fn call(&self, query: &Query) -> Result<Call, Failure> {
        let product = self.user_agent.split('/').next().unwrap_or_default();
        let manager =
            [query.get("fieldManager"), product, &self.caller].into_iter().find(|name| !name.is_empty());
        let field_validation = match query.get("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                return Err(Failure::bad_request(format!(
                    "fieldValidation: Unsupported value: {other:?}: supported values: \"\", \"Ignore\", \"Warn\", \"Strict\""
                )));
            }
        };
        Ok(Call {
            caller: self.caller.clone(),
            manager: manager.unwrap_or_default().to_owned(),
            dry_run: dry_run(query.get("dryRun"))?,
            field_validation,
            warnings: Vec::new(),
        })
    }

    /// The body as JSON; YAML is understood too.
    pub fn value(&self) -> Result<Value, Failure> {
        if self.content_type.contains("protobuf") {
            return Err(Failure::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml",
            ));
        }
        match serde_json::from_slice(&self.body) {
            Ok(value) => Ok(value),
            Err(_) if self.content_type.contains("yaml") => {
                let text = String::from_utf8_lossy(&self.body);
                serde_saphyr::from_str(&text)
                    .map_err(|error| Failure::bad_request(format!("error decoding YAML: {error}")))
            }
            Err(error) => Err(Failure::bad_request(format!(
                "the object provided is unrecognized (must be of type Status): couldn't get version/kind; json parse error: {error}"
            ))),
        }
    }

    /// The options of a deletion: from the body, then from the query.
    pub fn delete_options(&self, query: &Query) -> Result<Delete, Failure> {
        let body = if self.body.is_empty() { json!({}) } else { self.value()? };
        let text = |key: &str| -> Option<String> {
            let from_query = Some(query.get(key).to_owned()).filter(|text| !text.is_empty());
            body.get(key).and_then(Value::as_str).map(str::to_owned).or(from_query)
        };
        let mut propagation = match text("propagationPolicy").as_deref() {
            None => None,
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                return Err(Failure::bad_request(format!(
                    "propagationPolicy: Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
                )));
            }
        };
        if propagation.is_none()
            && let Some(orphan) = body.get("orphanDependents").and_then(Value::as_bool)
        {
            propagation = Some(if orphan { Propagation::Orphan } else { Propagation::Background });
        }
        let grace = body.get("gracePeriodSeconds").and_then(Value::as_i64);
        let precondition = |key: &str| {
            body.get("preconditions").and_then(|all| all.get(key)).and_then(Value::as_str).map(str::to_owned)
        };
        let is_dry_in_body = body
            .get("dryRun")
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(|word| word == "All"));
        Ok(Delete {
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
            propagation,
            grace_period_seconds: grace.or_else(|| query.get("gracePeriodSeconds").parse().ok()),
            dry_run: is_dry_in_body || dry_run(query.get("dryRun"))?,
        })
    }
}

fn dry_run(text: &str) -> Result<bool, Failure> {
    match text {
        "" => Ok(false),
        "All" => Ok(true),
        other => Err(Failure::bad_request(format!(
            "dryRun: Unsupported value: {other:?}: supported values: \"All\""
        ))),
    }
}
