//! A small part of Go's template language, as ResourceSets use it.
//!
//! Promises fields, variables, `range`, `if`, `else`, `with`, pipelines and the common functions, with
//! `<<` and `>>` as delimiters; anything else is an error that names it, never a guess. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Renders a template with `inputs`.
///
/// # Errors
/// A sentence that names the action that is not understood.
pub fn render(text: &str, inputs: &Value) -> Result<String, String> {
    let tokens = lex(text)?;
    let mut parser = Blocks { tokens: &tokens, at: 0 };
    let nodes = parser.block(&[])?.0;
    let mut scope = Scope { inputs, dot: inputs.clone(), variables: BTreeMap::new() };
    let mut out = String::new();
    scope.run(&nodes, &mut out)?;
    Ok(out)
}

enum Token {
    Text(String),
    Action(String),
}

fn lex(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    while let Some(at) = rest.find("<<") {
        let mut before = &rest[..at];
        let inner = &rest[at + 2..];
        let end = inner.find(">>").ok_or_else(|| "a << has no >>".to_owned())?;
        let mut action = &inner[..end];
        rest = &inner[end + 2..];
        if trim_next {
            before = before.trim_start();
        }
        if let Some(trimmed) =
            action.strip_prefix('-').filter(|trimmed| trimmed.starts_with(char::is_whitespace))
        {
            action = trimmed;
            before = before.trim_end();
        }
        trim_next = false;
        if let Some(trimmed) =
            action.strip_suffix('-').filter(|trimmed| trimmed.ends_with(char::is_whitespace))
        {
            action = trimmed;
            trim_next = true;
        }
        tokens.push(Token::Text(before.to_owned()));
        tokens.push(Token::Action(action.trim().to_owned()));
    }
    tokens.push(Token::Text(if trim_next { rest.trim_start() } else { rest }.to_owned()));
    Ok(tokens)
}

enum Node {
    Text(String),
    Show(Vec<Vec<Term>>),
    Set(String, Vec<Vec<Term>>),
    If(Vec<(Vec<Vec<Term>>, Vec<Node>)>, Vec<Node>),
    With(Vec<Vec<Term>>, Vec<Node>, Vec<Node>),
    Range {
        key: Option<String>,
        item: Option<String>,
        over: Vec<Vec<Term>>,
        body: Vec<Node>,
        empty: Vec<Node>,
    },
}

struct Blocks<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Blocks<'_> {
    /// Reads nodes up to one of the stop words; returns the action that stopped it.
    fn block(&mut self, stops: &[&str]) -> Result<(Vec<Node>, String), String> {
        let mut nodes = Vec::new();
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            let action = match token {
                Token::Text(text) => {
                    nodes.push(Node::Text(text.clone()));
                    continue;
                }
                Token::Action(action) => action,
            };
            let word = action.split_whitespace().next().unwrap_or_default();
            if stops.contains(&word) {
                return Ok((nodes, action.clone()));
            }
            let rest = action.strip_prefix(word).unwrap_or_default().trim();
            match word {
                "" => {}
                _ if action.starts_with("/*") => {}
                "if" => nodes.push(self.conditional(rest)?),
                "with" => {
                    let over = pipeline(rest)?;
                    let (body, stop) = self.block(&["else", "end"])?;
                    let empty = if stop == "else" { self.block(&["end"])?.0 } else { Vec::new() };
                    nodes.push(Node::With(over, body, empty));
                }
                "range" => {
                    let (names, over) =
                        rest.split_once(":=").map_or(("", rest), |(names, over)| (names, over));
                    let names: Vec<String> = names
                        .split(',')
                        .map(|name| name.trim().to_owned())
                        .filter(|name| !name.is_empty())
                        .collect();
                    let over = pipeline(over.trim())?;
                    let (body, stop) = self.block(&["else", "end"])?;
                    let empty = if stop == "else" { self.block(&["end"])?.0 } else { Vec::new() };
                    let (key, item) = match names.as_slice() {
                        [key, item] => (Some(key.clone()), Some(item.clone())),
                        [item] => (None, Some(item.clone())),
                        _ => (None, None),
                    };
                    nodes.push(Node::Range { key, item, over, body, empty });
                }
                "define" | "template" | "block" | "break" | "continue" | "end" | "else" => {
                    return Err(format!("<< {action} >> is not understood"));
                }
                _ if word.starts_with('$') && (rest.starts_with(":=") || rest.starts_with("= ")) => {
                    nodes.push(Node::Set(
                        word.to_owned(),
                        pipeline(rest.trim_start_matches(':').trim_start_matches('=').trim())?,
                    ));
                }
                _ => nodes.push(Node::Show(pipeline(action)?)),
            }
        }
        if stops.is_empty() {
            Ok((nodes, String::new()))
        } else {
            Err("a range, if or with has no end".to_owned())
        }
    }

    fn conditional(&mut self, condition: &str) -> Result<Node, String> {
        let mut arms = Vec::new();
        let mut condition = condition.to_owned();
        loop {
            let parsed = pipeline(&condition)?;
            let (body, stop) = self.block(&["else", "end"])?;
            arms.push((parsed, body));
            if stop == "end" {
                return Ok(Node::If(arms, Vec::new()));
            }
            match stop.strip_prefix("else").map(str::trim).and_then(|rest| rest.strip_prefix("if")) {
                Some(next) => next.trim().clone_into(&mut condition),
                None => return Ok(Node::If(arms, self.block(&["end"])?.0)),
            }
        }
    }
}

/// One operand or function name.
enum Term {
    Literal(Value),
    /// `$x.a`, `.a.b`, `inputs.a`: where it begins and the path.
    Path(String, Vec<String>),
    Word(String),
    Group(Vec<Vec<Term>>, Vec<String>),
}

fn pipeline(text: &str) -> Result<Vec<Vec<Term>>, String> {
    let characters: Vec<char> = text.chars().collect();
    let mut at = 0;
    let parsed = stages(&characters, &mut at, text)?;
    if at < characters.len() { Err(format!("<< {text} >> is not understood")) } else { Ok(parsed) }
}

fn stages(characters: &[char], at: &mut usize, whole: &str) -> Result<Vec<Vec<Term>>, String> {
    let mut stages = vec![Vec::new()];
    while *at < characters.len() && characters[*at] != ')' {
        let c = characters[*at];
        if c.is_whitespace() {
            *at += 1;
        } else if c == '|' {
            *at += 1;
            stages.push(Vec::new());
        } else {
            let term = term(characters, at, whole)?;
            stages.last_mut().expect("there is always a stage").push(term);
        }
    }
    Ok(stages)
}

fn term(characters: &[char], at: &mut usize, whole: &str) -> Result<Term, String> {
    let not_understood = || format!("<< {whole} >> is not understood");
    let word = |at: &mut usize| {
        let start = *at;
        while *at < characters.len() && !characters[*at].is_whitespace() && !"()|".contains(characters[*at]) {
            *at += 1;
        }
        characters[start..*at].iter().collect::<String>()
    };
    let path =
        |text: &str| text.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    match characters[*at] {
        '(' => {
            *at += 1;
            let inner = stages(characters, at, whole)?;
            if characters.get(*at) != Some(&')') {
                return Err(not_understood());
            }
            *at += 1;
            let tail = word(at);
            Ok(Term::Group(inner, path(&tail)))
        }
        quote @ ('"' | '`') => {
            let start = *at;
            *at += 1;
            while *at < characters.len() && characters[*at] != quote {
                *at += if characters[*at] == '\\' && quote == '"' { 2 } else { 1 };
            }
            if *at >= characters.len() {
                return Err(not_understood());
            }
            *at += 1;
            let text: String = characters[start..*at].iter().collect();
            let value = if quote == '"' {
                serde_json::from_str(&text).map_err(|_| not_understood())?
            } else {
                json!(text[1..text.len() - 1])
            };
            Ok(Term::Literal(value))
        }
        _ => {
            let text = word(at);
            if let Ok(number) = text.parse::<i64>() {
                return Ok(Term::Literal(json!(number)));
            }
            Ok(match text.as_str() {
                "true" => Term::Literal(json!(true)),
                "false" => Term::Literal(json!(false)),
                "nil" => Term::Literal(Value::Null),
                _ if text.starts_with('.') => Term::Path(".".to_owned(), path(&text)),
                _ if text.starts_with('$') || text == "inputs" || text.starts_with("inputs.") => {
                    let mut parts = path(&text);
                    let head = parts.remove(0);
                    Term::Path(head, parts)
                }
                _ => Term::Word(text),
            })
        }
    }
}

struct Scope<'a> {
    inputs: &'a Value,
    dot: Value,
    variables: BTreeMap<String, Value>,
}

impl Scope<'_> {
    fn run(&mut self, nodes: &[Node], out: &mut String) -> Result<(), String> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Show(stages) => out.push_str(&show(&self.eval(stages)?)),
                Node::Set(name, stages) => {
                    let value = self.eval(stages)?;
                    self.variables.insert(name.clone(), value);
                }
                Node::If(arms, otherwise) => {
                    let mut taken = None;
                    for (condition, body) in arms {
                        if is_true(&self.eval(condition)?) {
                            taken = Some(body);
                            break;
                        }
                    }
                    self.run(taken.unwrap_or(otherwise), out)?;
                }
                Node::With(stages, body, empty) => {
                    let value = self.eval(stages)?;
                    if is_true(&value) {
                        let before = std::mem::replace(&mut self.dot, value);
                        self.run(body, out)?;
                        self.dot = before;
                    } else {
                        self.run(empty, out)?;
                    }
                }
                Node::Range { key, item, over, body, empty } => {
                    let pairs: Vec<(Value, Value)> = match self.eval(over)? {
                        Value::Array(items) => {
                            items.into_iter().enumerate().map(|(at, item)| (json!(at), item)).collect()
                        }
                        Value::Object(map) => map.into_iter().map(|(key, item)| (json!(key), item)).collect(),
                        Value::Null => Vec::new(),
                        other => return Err(format!("cannot range over {other}")),
                    };
                    if pairs.is_empty() {
                        self.run(empty, out)?;
                    }
                    let before = self.dot.clone();
                    for (at, value) in pairs {
                        if let Some(key) = key {
                            self.variables.insert(key.clone(), at);
                        }
                        if let Some(item) = item {
                            self.variables.insert(item.clone(), value.clone());
                        }
                        self.dot = value;
                        self.run(body, out)?;
                    }
                    self.dot = before;
                }
            }
        }
        Ok(())
    }

    fn eval(&self, stages: &[Vec<Term>]) -> Result<Value, String> {
        let mut piped: Option<Value> = None;
        for stage in stages {
            let (first, rest) = stage.split_first().ok_or_else(|| "an empty action".to_owned())?;
            let mut arguments = rest.iter().map(|term| self.term(term)).collect::<Result<Vec<_>, _>>()?;
            arguments.extend(piped.take());
            piped = Some(match first {
                Term::Word(name) => call(name, &arguments)?,
                other if arguments.is_empty() => self.term(other)?,
                _ => return Err("a value is called like a function".to_owned()),
            });
        }
        Ok(piped.unwrap_or_default())
    }

    fn term(&self, term: &Term) -> Result<Value, String> {
        let walk = |value: Value, path: &[String]| {
            path.iter().fold(value, |value, key| value.get(key).cloned().unwrap_or_default())
        };
        Ok(match term {
            Term::Literal(value) => value.clone(),
            Term::Group(stages, path) => walk(self.eval(stages)?, path),
            Term::Word(name) => call(name, &[])?,
            Term::Path(head, path) => {
                let base = match head.as_str() {
                    "." => self.dot.clone(),
                    "$" | "inputs" => self.inputs.clone(),
                    name => self.variables.get(name).cloned().ok_or_else(|| format!("{name} is not set"))?,
                };
                walk(base, path)
            }
        })
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let text = |at: usize| arguments.get(at).map(show).unwrap_or_default();
    let value = |at: usize| arguments.get(at).cloned().unwrap_or_default();
    let indented = |by: &Value, body: &str| {
        let pad = " ".repeat(usize::try_from(by.as_u64().unwrap_or(0)).unwrap_or(0));
        body.lines().map(|line| format!("{pad}{line}")).collect::<Vec<_>>().join("\n")
    };
    Ok(match name {
        "get" => value(0).get(text(1)).cloned().unwrap_or_default(),
        "hasKey" => json!(value(0).get(text(1)).is_some()),
        "index" => arguments.iter().skip(1).fold(value(0), |from, key| match key.as_u64() {
            Some(at) => from.get(usize::try_from(at).unwrap_or(usize::MAX)).cloned().unwrap_or_default(),
            None => from.get(show(key)).cloned().unwrap_or_default(),
        }),
        "default" => {
            if is_true(&value(1)) {
                value(1)
            } else {
                value(0)
            }
        }
        "printf" => json!(printf(&text(0), arguments.get(1..).unwrap_or_default())?),
        "print" => json!(arguments.iter().map(show).collect::<String>()),
        "quote" => json!(serde_json::to_string(&text(0)).unwrap_or_default()),
        "squote" => json!(format!("'{}'", text(0))),
        "upper" => json!(text(0).to_uppercase()),
        "lower" => json!(text(0).to_lowercase()),
        "trim" => json!(text(0).trim()),
        "trimPrefix" => json!(text(1).strip_prefix(&text(0)).unwrap_or(&text(1))),
        "trimSuffix" => json!(text(1).strip_suffix(&text(0)).unwrap_or(&text(1))),
        "replace" => json!(text(2).replace(&text(0), &text(1))),
        "contains" => json!(text(1).contains(&text(0))),
        "hasPrefix" => json!(text(1).starts_with(&text(0))),
        "hasSuffix" => json!(text(1).ends_with(&text(0))),
        "toString" => json!(text(0)),
        "int" => json!(text(0).parse::<i64>().unwrap_or(0)),
        "toJson" => json!(value(0).to_string()),
        "toYaml" => json!(crate::yaml::emit(&value(0)).trim_end()),
        "indent" => json!(indented(&value(0), &text(1))),
        "nindent" => json!(format!("\n{}", indented(&value(0), &text(1)))),
        "len" => json!(
            value(0)
                .as_array()
                .map_or_else(|| value(0).as_object().map_or(text(0).len(), serde_json::Map::len), Vec::len)
        ),
        "list" => json!(arguments),
        "eq" => json!(arguments.iter().skip(1).any(|other| *other == value(0))),
        "ne" => json!(value(0) != value(1)),
        "not" => json!(!is_true(&value(0))),
        "and" => arguments
            .iter()
            .find(|argument| !is_true(argument))
            .or(arguments.last())
            .cloned()
            .unwrap_or_default(),
        "or" => arguments
            .iter()
            .find(|argument| is_true(argument))
            .or(arguments.last())
            .cloned()
            .unwrap_or_default(),
        "ternary" => {
            if is_true(&value(2)) {
                value(0)
            } else {
                value(1)
            }
        }
        other => return Err(format!("the function {other} is not known here")),
    })
}

fn printf(format: &str, arguments: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut characters = format.chars();
    while let Some(c) = characters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match characters.next() {
            Some('%') => out.push('%'),
            Some('s' | 'v' | 'd') => out.push_str(&arguments.next().map(show).unwrap_or_default()),
            Some('q') => out.push_str(
                &serde_json::to_string(&arguments.next().map(show).unwrap_or_default()).unwrap_or_default(),
            ),
            other => return Err(format!("printf's %{} is not known here", other.unwrap_or(' '))),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let inputs = json!({"apps": [{"app": "plex", "uid": 1000}, {"app": "sonarr"}], "defaults": {"uid": "568"}, "on": true});
        assert_eq!(render(template, &inputs).as_deref(), Ok(expected), "{template}");
    }

    #[test]
    fn what_resource_sets_write_is_rendered() {
        check("a << inputs.defaults.uid >> b", "a 568 b");
        check(
            "<<- range $app := inputs.apps >>\n- << $app.app >>: << get $app \"uid\" | default inputs.defaults.uid >>\n<<- end >>",
            "\n- plex: 1000\n- sonarr: 568",
        );
        check("<< range $i, $a := inputs.apps >><< $i >><< .app >> << end >>", "0plex 1sonarr ");
        check("<< if get (index inputs.apps 0) \"uid\" >>y<< else >>n<< end >>", "y");
        check("<< if eq 1 2 >>a<< else if inputs.on >>b<< else >>c<< end >>", "b");
        check("<< printf \"%s-%s\" (index inputs.apps 1).app (\"x\" | upper) >>", "sonarr-X");
        check("<< with inputs.defaults >><< .uid >><< end >>", "568");
        check("<< $x := \"v\" >><< $x | quote >>", "\"v\"");
        check("plain {{ .Other }}", "plain {{ .Other }}");
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (template, part) in [
            ("<< magic 1 >>", "magic"),
            ("<< range inputs.apps >>", "no end"),
            ("<< $nope >>", "$nope"),
            ("<< include \"x\" . >>", "include"),
            ("<< a", "no >>"),
        ] {
            let error = render(template, &json!({"apps": []})).unwrap_err();
            assert!(error.contains(part), "{template}: {error}");
        }
    }
}
