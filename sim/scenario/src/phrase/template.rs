//! How a phrase is written down: words, parts and optional parts.
//!
//! `{key:kind}` is a part whose kind says what may stand there; `[ … ]` is an optional part, said when its
//! keys are. Everything else stands for itself. One template gives the anchored expression that reads a
//! sentence, the sentence that a step is written as, and the samples that tests walk.

use std::collections::BTreeMap;

use regex::escape;

/// What may stand in a part: its name in templates, its expression, a sample.
const KINDS: &[(&str, &str, &str)] = &[
    ("name", r#"[^"\s]+"#, "media/app-data"),
    ("kind", r"[A-Z][A-Za-z]+", "ReplicationSource"),
    ("word", r#"[^"\s]+"#, "monday"),
    ("text", r#"[^"]*"#, "a text"),
    ("cron", r#"[^"]+"#, "0 3 * * *"),
    ("n", r"\d+", "3"),
    ("size", r"\d+ ?(?:B|KiB|MiB|GiB|TiB)", "64 MiB"),
    ("span", r"\d+ (?:second|minute|hour|day|week)s?", "24 hours"),
    ("times", r"once|twice|\d+ times", "twice"),
    ("specials", r"[a-z]+(?: [a-z]+)*(?:, [a-z]+(?: [a-z]+)*)*", "hard links, holes"),
    ("list", r#""[^"]*"(?:, "[^"]*")*"#, r#""a/b", "c""#),
    ("result", r"successful|failed", "failed"),
    ("number", r"-?[0-9.]+", "1"),
];

enum Token<'a> {
    Text(&'a str),
    Part { key: &'a str, kind: &'a str },
    Open,
    Close,
}

fn tokens(template: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '[', ']']) {
        if at > 0 {
            tokens.push(Token::Text(&rest[..at]));
        }
        match rest.as_bytes()[at] {
            b'[' => tokens.push(Token::Open),
            b']' => tokens.push(Token::Close),
            _ => {
                let end = at + rest[at..].find('}').expect("a part of a template ends with }");
                let (key, kind) =
                    rest[at + 1..end].split_once(':').expect("a part of a template says its kind");
                tokens.push(Token::Part { key, kind });
                rest = &rest[end + 1..];
                continue;
            }
        }
        rest = &rest[at + 1..];
    }
    if !rest.is_empty() {
        tokens.push(Token::Text(rest));
    }
    tokens
}

fn kind(name: &str) -> &'static (&'static str, &'static str, &'static str) {
    KINDS.iter().find(|(kind, _, _)| *kind == name).unwrap_or_else(|| panic!("{name} is no kind of part"))
}

/// The anchored expression of a template.
pub fn expression(template: &str) -> String {
    let mut text = String::from("^");
    for token in tokens(template) {
        match token {
            Token::Text(words) => text.push_str(&escape(words)),
            Token::Part { key, kind: name } => text.push_str(&format!("(?P<{key}>{})", kind(name).1)),
            Token::Open => text.push_str("(?:"),
            Token::Close => text.push_str(")?"),
        }
    }
    text.push('$');
    text
}

/// The sentence with these values; an optional part is said when its keys have values.
pub fn fill(template: &str, values: &BTreeMap<&'static str, String>) -> String {
    let mut text = String::new();
    let mut optional: Option<(String, bool)> = None;
    for token in tokens(template) {
        let (piece, said) = match token {
            Token::Open => {
                optional = Some((String::new(), true));
                continue;
            }
            Token::Close => {
                if let Some((part, true)) = optional.take() {
                    text.push_str(&part);
                }
                continue;
            }
            Token::Text(words) => (words.to_owned(), true),
            Token::Part { key, .. } => {
                (values.get(key).cloned().unwrap_or_default(), values.contains_key(key))
            }
        };
        match &mut optional {
            Some((part, all)) => {
                part.push_str(&piece);
                *all &= said;
            }
            None => text.push_str(&piece),
        }
    }
    text
}

/// Two samples of a template: with all its optional parts, and without any.
pub fn samples(template: &str) -> [String; 2] {
    [true, false].map(|full| {
        let mut text = String::new();
        let mut inside = false;
        for token in tokens(template) {
            let piece = match token {
                Token::Open => {
                    inside = true;
                    continue;
                }
                Token::Close => {
                    inside = false;
                    continue;
                }
                Token::Text(words) => words,
                Token::Part { kind: name, .. } => kind(name).2,
            };
            if full || !inside {
                text.push_str(piece);
            }
        }
        text
    })
}
