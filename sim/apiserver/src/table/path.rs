//! The part of JSONPath that printer columns use: `.a.b`, `['a.b']`, `[0]`, `[*]`, `[?(@.type=="Ready")]`.

use json::Value;

/// Returns what a path finds; nothing when it is not understood.
pub(super) fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let Some(end) = closing(inner) else { return Vec::new() };
            let step = inner[..end].trim();
            rest = &inner[end + 1..];
            found = found.into_iter().flat_map(|value| bracket(value, step)).collect();
            continue;
        }
        let name = rest.trim_start_matches('.');
        let end = name_end(name);
        let key = name[..end].replace("\\.", ".");
        rest = &name[end..];
        if key == "*" {
            found = found.into_iter().flat_map(children).collect();
        } else {
            found = found.into_iter().filter_map(|value| value.get(&key)).collect();
        }
        if end == 0 {
            return Vec::new();
        }
    }
    found.retain(|value| !value.is_null());
    found
}

/// A dot or bracket ends a name, unless a backslash stands before the dot.
fn name_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    (0..bytes.len())
        .find(|index| {
            bytes[*index] == b'[' || (bytes[*index] == b'.' && *index > 0 && bytes[*index - 1] != b'\\')
        })
        .unwrap_or(bytes.len())
}

/// The matching bracket, skipping quoted text.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, letter) in text.char_indices() {
        match (quote, letter) {
            (None, ']') => return Some(index),
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => {}
        }
    }
    None
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn bracket<'a>(value: &'a Value, step: &str) -> Vec<&'a Value> {
    if step == "*" {
        return children(value);
    }
    if let Some(name) = step.strip_prefix(['\'', '"']) {
        return value.get(name.trim_end_matches(['\'', '"'])).into_iter().collect();
    }
    if let Some(test) = step.strip_prefix("?(").and_then(|test| test.strip_suffix(')')) {
        let Some((left, right)) = test.split_once("==") else { return Vec::new() };
        let wanted = right.trim().trim_matches(['"', '\'']);
        let left = left.trim().trim_start_matches('@');
        let matches = |item: &&Value| {
            find(item, left).first().is_some_and(|found| match found {
                Value::String(text) => text == wanted,
                Value::Bool(flag) => wanted == if *flag { "true" } else { "false" },
                Value::Number(number) => {
                    serde_json::from_str::<json::Number>(wanted).is_ok_and(|wanted| wanted == *number)
                }
                _ => false,
            })
        };
        return children(value).into_iter().filter(matches).collect();
    }
    let Some(items) = value.as_array() else { return Vec::new() };
    let index: Option<usize> = match step.strip_prefix('-') {
        Some(back) => back.parse().ok().and_then(|back: usize| items.len().checked_sub(back)),
        None => step.parse().ok(),
    };
    index.and_then(|index| items.get(index)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use json::json;

    use super::*;

    fn check(path: &str, expected: &[Value]) {
        let object = json!({"spec": {"a.b": 1, "list": [{"n": 1}, {"n": 2}]}, "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}});
        let found: Vec<Value> = find(&object, path).into_iter().cloned().collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn paths_of_printer_columns_are_understood() {
        check(".status.conditions[?(@.type==\"Ready\")].status", &[json!("True")]);
        check(".status.conditions[?(@.type=='None')].status", &[]);
        check(".spec.list[0].n", &[json!(1)]);
        check(".spec.list[-1].n", &[json!(2)]);
        check(".spec.list[*].n", &[json!(1), json!(2)]);
        check(".spec['a.b']", &[json!(1)]);
        check(".spec.a\\.b", &[json!(1)]);
        check(".spec.missing.deep", &[]);
    }
}
