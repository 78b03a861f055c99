//! Tables: what `kubectl get` prints.
//!
//! Columns of custom resources come from their definition; those of built-in kinds that people look at are
//! in `builtin`; every other kind shows its name and age.

mod builtin;
mod path;

use jiff::Timestamp;
use json::{Value, json};

use crate::access::text;
use crate::resource::{Column, Resource};
use crate::shape::{PartialObject, Rows};

/// Renders objects as a table.
pub(crate) fn render(
    resource: &Resource,
    objects: &[&Value],
    rows: Rows,
    with_columns: bool,
    version: &str,
    now: Timestamp,
) -> Value {
    let listed: Vec<Value> = objects
        .iter()
        .map(|object| {
            let carried = match rows {
                Rows::Metadata => PartialObject::of(object).value(),
                Rows::Object => (*object).clone(),
                Rows::Nothing => Value::Null,
            };
            json!({"cells": cells(resource, object, now), "object": carried})
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": if with_columns { columns(resource) } else { Value::Null },
        "rows": listed,
    })
}

fn columns(resource: &Resource) -> Value {
    let mut shown = vec![json!({
        "name": "Name",
        "type": "string",
        "format": "name",
        "description": "Name must be unique within a namespace.",
        "priority": 0,
    })];
    if let Some(custom) = &resource.custom {
        shown.extend(custom.columns.iter().map(|column| {
            json!({
                "name": column.name,
                "type": if column.kind == "date" { "date" } else { &column.kind },
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        }));
    } else {
        shown.extend(builtin::columns(resource).iter().map(|(name, priority)| {
            json!({"name": name, "type": "string", "format": "", "description": "", "priority": priority})
        }));
    }
    Value::from(shown)
}

fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let mut shown = vec![json!(text(object, &["metadata", "name"]))];
    match &resource.custom {
        Some(custom) => shown.extend(custom.columns.iter().map(|column| custom_cell(column, object, now))),
        None => shown.extend(builtin::cells(resource, object, now).into_iter().map(Value::from)),
    }
    shown
}

fn custom_cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    let found = path::find(object, &column.path);
    let Some(first) = found.first() else {
        // The real server leaves the cell empty.
        return Value::Null;
    };
    match (column.kind.as_str(), first) {
        ("date", Value::String(time)) => json!(age(time, now)),
        ("integer" | "number" | "boolean", value) => (*value).clone(),
        (_, Value::String(text)) if found.len() == 1 => json!(text),
        _ => {
            let parts: Vec<String> = found
                .iter()
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                .collect();
            json!(parts.join(" "))
        }
    }
}

/// How long ago a time is, as kubectl prints it.
pub(crate) fn age(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else { return "<unknown>".to_owned() };
    duration(now.duration_since(then).as_secs())
}

/// Go's `duration.HumanDuration`.
pub(crate) fn duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let with = |whole: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{small}") }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => with(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => with(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => with(days, "d", hours % 24, "h"),
        _ if days < 730 => format!("{days}d"),
        _ if days < 8 * 365 => with(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: i64, expected: &str) {
        assert_eq!(duration(seconds), expected);
    }

    #[test]
    fn durations_read_as_kubectl_prints_them() {
        check(-5, "<invalid>");
        check(0, "0s");
        check(119, "119s");
        check(120, "2m");
        check(150, "2m30s");
        check(3600, "60m");
        check(4 * 3600, "4h");
        check(4 * 3600 + 60, "4h1m");
        check(47 * 3600, "47h");
        check(3 * 86400 + 3600, "3d1h");
        check(100 * 86400, "100d");
        check(800 * 86400, "2y70d");
    }
}
