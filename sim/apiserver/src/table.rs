//! Tables: what `kubectl get` prints.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::access::text;
use crate::resource::Resource;
use crate::shape::{Rows, metadata_of};

/// Renders objects as a table.
pub(crate) fn render(_resource: &Resource, objects: &[&Value], rows: Rows, with_columns: bool, version: &str, now: Timestamp) -> Value {
    let columns = json!([
        {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
        {"name": "Age", "type": "string", "format": "", "description": "", "priority": 0},
    ]);
    let listed: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells = json!([text(object, &["metadata", "name"]), age(text(object, &["metadata", "creationTimestamp"]), now)]);
            let carried = match rows {
                Rows::Metadata => metadata_of(object),
                Rows::Object => (*object).clone(),
                Rows::Nothing => Value::Null,
            };
            json!({"cells": cells, "object": carried})
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": if with_columns { columns } else { Value::Null },
        "rows": listed,
    })
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
