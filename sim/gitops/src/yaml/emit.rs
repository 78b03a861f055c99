//! Writes a value as the YAML that kustomize would emit.
//!
//! Promises what substitution depends on: keys sorted, strings plain wherever YAML 1.1 would read
//! them back as the same string, quoted otherwise, several lines as a literal block. Comments, anchors
//! and the source's quotes are gone, as they are in kustomize's output. Not a general writer.

use std::fmt::Write as _;

use serde_json::Value;

/// The YAML text of a value.
pub fn emit(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(&mut out, map, 0),
        Value::Array(items) if !items.is_empty() => sequence(&mut out, items, 0),
        other => {
            scalar(&mut out, other, 0);
            out.push('\n');
        }
    }
    out
}

fn mapping(out: &mut String, map: &serde_json::Map<String, Value>, indent: usize) {
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort();
    for (at, key) in keys.into_iter().enumerate() {
        if at > 0 || out.ends_with('\n') || out.is_empty() {
            pad(out, indent);
        }
        string(out, key, indent, true);
        out.push(':');
        member(out, &map[key], indent);
    }
}

fn member(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            mapping(out, map, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            sequence(out, items, indent);
        }
        other => {
            out.push(' ');
            scalar(out, other, indent + 2);
            out.push('\n');
        }
    }
}

fn sequence(out: &mut String, items: &[Value], indent: usize) {
    for item in items {
        pad(out, indent);
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => mapping(out, map, indent + 2),
            Value::Array(inner) if !inner.is_empty() => {
                out.push('\n');
                sequence(out, inner, indent + 2);
            }
            other => {
                scalar(out, other, indent + 2);
                out.push('\n');
            }
        }
    }
}

fn scalar(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => {
            let _ = write!(out, "{number}");
        }
        Value::String(text) => string(out, text, indent, false),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

fn string(out: &mut String, text: &str, indent: usize, is_key: bool) {
    if text.contains('\n')
        && !is_key
        && text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control())
        && !text.starts_with(['\n', ' '])
    {
        let chomp = if text.ends_with("\n\n") {
            "+"
        } else if text.ends_with('\n') {
            ""
        } else {
            "-"
        };
        let _ = write!(out, "|{chomp}");
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            out.push('\n');
            if !line.is_empty() {
                pad(out, indent);
                out.push_str(line);
            }
        }
    } else if is_plain(text) {
        out.push_str(text);
    } else if text.chars().any(char::is_control) {
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    } else if reads_as_other(text) {
        let _ = write!(out, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    } else {
        let _ = write!(out, "'{}'", text.replace('\'', "''"));
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let second = text.chars().nth(1);
    let indicator = match first {
        '-' | '?' | ':' => second.is_none_or(char::is_whitespace),
        _ => "&*!|>'\"%@`#,[]{}".contains(first),
    };
    !indicator
        && !text.contains(": ")
        && !text.ends_with(':')
        && !text.contains(" #")
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && text != "---"
        && text != "..."
        && !text.chars().any(char::is_control)
        && !reads_as_other(text)
}

/// Whether YAML 1.1 would read the plain text as something else than a string.
fn reads_as_other(text: &str) -> bool {
    const WORDS: [&str; 11] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "~", "<<"];
    let lower = text.to_ascii_lowercase();
    if WORDS.contains(&lower.as_str()) {
        return true;
    }
    let body = lower.trim_start_matches(['+', '-']);
    let is_number = !body.is_empty()
        && body.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && (body.replace('_', "").parse::<f64>().is_ok()
            || body
                .strip_prefix("0x")
                .is_some_and(|hex| !hex.is_empty() && hex.chars().all(|c| c.is_ascii_hexdigit()))
            || body
                .strip_prefix("0o")
                .is_some_and(|octal| !octal.is_empty() && octal.chars().all(|c| c.is_digit(8)))
            || body
                .strip_prefix("0b")
                .is_some_and(|binary| !binary.is_empty() && binary.chars().all(|c| c.is_digit(2)))
            || is_sexagesimal(body)
            || is_date(body));
    is_number || [".inf", ".nan"].contains(&body)
}

fn is_sexagesimal(body: &str) -> bool {
    body.contains(':')
        && body
            .split(':')
            .all(|part| !part.is_empty() && part.len() <= 2 && part.chars().all(|c| c.is_ascii_digit()))
}

fn is_date(body: &str) -> bool {
    let mut parts = body.splitn(3, '-');
    let (Some(year), Some(month), Some(day)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    year.len() == 4
        && [year, month].iter().all(|part| part.chars().all(|c| c.is_ascii_digit()))
        && day.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Origin, parse};

    #[test]
    fn quotes_go_where_they_can_and_stay_where_they_must() {
        let value = serde_json::json!({"a": "${UID:=1000}", "b": "1000", "c": "{{ .KOPIA_PASSWORD }}", "d": "0 * * * *", "e": "yes", "f": "x: y", "g": [{"k": "v", "l": []}], "h": "line\nother\n", "i": ""});
        assert_eq!(
            emit(&value),
            "a: ${UID:=1000}\nb: \"1000\"\nc: '{{ .KOPIA_PASSWORD }}'\nd: 0 * * * *\ne: \"yes\"\nf: 'x: y'\ng:\n- k: v\n  l: []\nh: |\n  line\n  other\ni: ''\n"
        );
    }

    fn any_value() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let text = prop_oneof![
            "[ -~]{0,12}",
            "[a-z0-9:.{}\\[\\]#&*!|>'\"%@`, \n-]{0,10}",
            Just("on".to_owned()),
            Just("0644".to_owned()),
            Just("12:30".to_owned()),
            Just("2026-01-01".to_owned())
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            text.prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-zA-Z0-9 ./-]{1,8}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        #[test]
        fn what_was_emitted_is_read_back(value in any_value()) {
            let text = emit(&value);
            let read = parse(&text, &Origin::new("f", 1));
            proptest::prop_assert_eq!(read.ok(), Some(value), "text {:?}", text);
        }
    }
}
