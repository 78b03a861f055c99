//! Field ownership.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::resource::Resource;

/// What an apply decided.
#[derive(Debug)]
pub(crate) struct Applied {
    pub manager: String,
}

pub(crate) fn track_create(_resource: &Resource, _manager: &str, _now: &str, _object: &mut Value) {}

pub(crate) fn track_update(_resource: &Resource, _manager: &str, _subresource: &str, _now: &str, _before: &Value, _object: &mut Value) {}

pub(crate) fn track_apply(_resource: &Resource, _applied: Applied, _subresource: &str, _now: &str, _before: &Value, _object: &mut Value) {}

pub(crate) fn first_apply(_resource: &Resource, manager: &str, _now: &str, _wanted: &Value) -> Value {
    json!({ "manager": manager })
}

pub(crate) fn merge(_resource: &Resource, manager: &str, _subresource: &str, _force: bool, before: &Value, wanted: &Value) -> Result<(Value, Applied), Failure> {
    let mut merged = before.clone();
    json_patch::merge(&mut merged, wanted);
    Ok((merged, Applied { manager: manager.to_owned() }))
}
