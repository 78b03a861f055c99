//! What the server answers when it refuses: the Kubernetes `Status` object, with the texts of the real one.
//!
//! Clients decide by `reason` and `code`, people read `message`; controllers compare parts of messages, so
//! the sentences here follow `k8s.io/apimachinery/pkg/api/errors` and `util/validation/field` word by word.

use json::{Value, json};

/// A refused request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason (`NotFound`, `Conflict`, `Invalid`, …).
    pub reason: &'static str,
    /// The sentence that clients print.
    pub message: String,
    /// `details` of the status object, or null.
    pub details: Value,
}

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Path of the field, as in `spec.kopia.copyMethod`.
    pub field: String,
    /// `FieldValueRequired` and the like.
    pub reason: &'static str,
    /// The sentence without the field.
    pub message: String,
}

impl Cause {
    fn new(field: impl Into<String>, reason: &'static str, message: String) -> Self {
        Self { field: field.into(), reason, message }
    }

    /// `Required value…`.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        let message =
            if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self::new(field, "FieldValueRequired", message)
    }

    /// `Invalid value: <value>: detail`.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new(field, "FieldValueInvalid", format!("Invalid value: {}: {detail}", shown(value)))
    }

    /// `Invalid value: "type": detail`, where the quoted word is a type name and not the value.
    pub fn invalid_word(field: impl Into<String>, word: &str, detail: &str) -> Self {
        Self::new(field, "FieldValueInvalid", format!("Invalid value: {}: {detail}", quoted(word)))
    }

    /// `Invalid value: "type": detail` with the reason of a wrong type.
    pub fn type_invalid(field: impl Into<String>, value: &str, detail: &str) -> Self {
        Self::new(field, "FieldValueTypeInvalid", format!("Invalid value: {}: {detail}", quoted(value)))
    }

    /// `Unsupported value: <value>: supported values: …`.
    pub fn unsupported(field: impl Into<String>, value: &Value, supported: &[String]) -> Self {
        let supported: Vec<String> = supported.iter().map(|value| quoted(value)).collect();
        Self::new(
            field,
            "FieldValueNotSupported",
            format!("Unsupported value: {}: supported values: {}", shown(value), supported.join(", ")),
        )
    }

    /// `Forbidden: detail`.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new(field, "FieldValueForbidden", format!("Forbidden: {detail}"))
    }

    /// `Duplicate value: <value>`.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new(field, "FieldValueDuplicate", format!("Duplicate value: {}", shown(value)))
    }

    /// `Too many: n: must have at most m items`.
    pub fn too_many(field: impl Into<String>, actual: usize, maximum: u64) -> Self {
        let noun = if maximum == 1 { "item" } else { "items" };
        Self::new(
            field,
            "FieldValueTooMany",
            format!("Too many: {actual}: must have at most {maximum} {noun}"),
        )
    }

    /// `Too long: may not be more than n bytes`.
    pub fn too_long(field: impl Into<String>, maximum: u64) -> Self {
        Self::new(field, "FieldValueTooLong", format!("Too long: may not be more than {maximum} bytes"))
    }

    /// The field and the sentence together.
    pub fn sentence(&self) -> String {
        if self.field.is_empty() { self.message.clone() } else { format!("{}: {}", self.field, self.message) }
    }
}

/// How the real server prints a value inside a sentence.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// Go's `%q` for the strings that occur here.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl Failure {
    fn new(code: u16, reason: &'static str, message: String, details: Value) -> Self {
        Self { code, reason, message, details }
    }

    /// The resource as `jobs.batch`, or `pods` in the core group.
    fn qualified(group: &str, resource: &str) -> String {
        if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
    }

    fn about(group: &str, kind: &str, name: &str) -> Value {
        let mut details = json!({});
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        if !group.is_empty() {
            details["group"] = json!(group);
        }
        if !kind.is_empty() {
            details["kind"] = json!(kind);
        }
        details
    }

    /// `jobs.batch "x" not found`.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {} not found", Self::qualified(group, resource), quoted(name));
        Self::new(404, "NotFound", message, Self::about(group, resource, name))
    }

    /// The answer to a path that nothing serves.
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource".to_owned(), json!({}))
    }

    /// `jobs.batch "x" already exists`.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {} already exists", Self::qualified(group, resource), quoted(name));
        Self::new(409, "AlreadyExists", message, Self::about(group, resource, name))
    }

    /// `Operation cannot be fulfilled on jobs.batch "x": why`.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {}: {why}",
            Self::qualified(group, resource),
            quoted(name)
        );
        Self::new(409, "Conflict", message, Self::about(group, resource, name))
    }

    /// The conflict of two writers.
    pub fn modified(group: &str, resource: &str, name: &str) -> Self {
        Self::conflict(
            group,
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// A conflict of server-side apply with other field managers.
    pub fn apply_conflict(causes: Vec<(String, String)>, message: String) -> Self {
        let causes: Vec<Value> = causes
            .into_iter()
            .map(|(field, message)| json!({"reason": "FieldManagerConflict", "message": message, "field": field}))
            .collect();
        Self::new(409, "Conflict", message, json!({ "causes": causes }))
    }

    /// `Job.batch "x" is invalid: …`.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Self {
        let mut sentences: Vec<String> = Vec::with_capacity(causes.len());
        for cause in causes {
            let sentence = cause.sentence();
            if !sentences.contains(&sentence) {
                sentences.push(sentence);
            }
        }
        let listed = match sentences.as_slice() {
            [] => "unknown".to_owned(),
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} {} is invalid: {listed}", Self::qualified(group, kind), quoted(name));
        let mut details = Self::about(group, kind, name);
        details["causes"] = causes
            .iter()
            .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
            .collect();
        Self::new(422, "Invalid", message, details)
    }

    /// `pods "x" is forbidden: why`.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", Self::qualified(group, resource))
        } else {
            format!("{} {} is forbidden: {why}", Self::qualified(group, resource), quoted(name))
        };
        Self::new(403, "Forbidden", message, Self::about(group, resource, name))
    }

    /// A request that cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message.into(), Value::Null)
    }

    /// A resourceVersion that history no longer holds.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message.into(), Value::Null)
    }

    /// A watch that fell behind history.
    pub fn gone(requested: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {requested} ({oldest})"))
    }

    /// A list at a resourceVersion that does not exist yet.
    pub fn too_large_resource_version(requested: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {requested}, current: {current}");
        let details = json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1});
        Self::new(504, "Timeout", message, details)
    }

    /// A method that the path does not have.
    pub fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource".to_owned(),
            json!({}),
        )
    }

    /// A patch in a format that the resource does not take.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message.into(), json!({}))
    }

    /// Something that must wait (an eviction that a budget holds back).
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self::new(429, "TooManyRequests", message.into(), json!({ "retryAfterSeconds": retry_after_seconds }))
    }

    /// A fault of the server itself.
    pub fn internal(message: &str) -> Self {
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
            json!({"causes": [{"message": message}]}),
        )
    }

    /// Renders the `Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}
