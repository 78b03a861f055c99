//! Replaces `${…}` in a text the way Flux's post-build substitution does.
//!
//! Promises the forms and the quirks of that function, not of a shell: every default operator
//! (`=`, `:=`, `:-`, `:?`, `:+`) yields its word when the value is empty or unset, and assigns
//! nothing; `/` replaces literally, `#` and `%` match globs; `$${` is a literal `${`; a bare `$NAME` is
//! left alone. Tells every variable that had neither value nor default. Never reads the environment.
//! Does not know YAML: see `flux::substitution` for what is substituted when.

use std::collections::{BTreeMap, BTreeSet};

/// Why a text cannot be substituted; Flux refuses such a Kustomization.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad substitution at {excerpt:?}")]
pub struct BadSubstitution {
    /// The text from the offending `${` on, cut short.
    pub excerpt: String,
}

/// The text after substitution, and what was missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Substituted {
    /// The new text.
    pub text: String,
    /// Names that were asked for, are unset, and have no default.
    pub unset: BTreeSet<String>,
    /// Every name that was asked for.
    pub asked: BTreeSet<String>,
}

/// Substitutes `variables` in `text`.
///
/// # Errors
/// [`BadSubstitution`] for an expression that Flux's parser refuses (unclosed brace, `${array[@]}`, `${A-b}`).
/// # Guarantees
/// Text without `${` and `$$` comes back as it was.
/// # Source
/// Flux `postBuild` uses drone's envsubst; behaviour observed from its published test table.
pub fn substitute(text: &str, variables: &BTreeMap<String, String>) -> Result<Substituted, BadSubstitution> {
    let mut parser = Parser { rest: text, variables, out: Substituted::default() };
    let text = parser.text()?;
    Ok(Substituted { text, ..parser.out })
}

/// Names in `${NAME…}` that stand in `text`, escaped ones excepted.
pub fn names(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let tail = &rest[at + 1..];
        if let Some(escaped) = tail.strip_prefix('$') {
            rest = escaped.strip_prefix('{').unwrap_or(escaped);
        } else if let Some(inner) = tail.strip_prefix('{') {
            let inner = inner.strip_prefix('#').unwrap_or(inner);
            let name: String = inner.chars().take_while(|c| is_name(*c)).collect();
            if !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) {
                found.insert(name);
            }
            rest = inner;
        } else {
            rest = tail;
        }
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

struct Parser<'a> {
    rest: &'a str,
    variables: &'a BTreeMap<String, String>,
    out: Substituted,
}

impl Parser<'_> {
    fn text(&mut self) -> Result<String, BadSubstitution> {
        let mut text = String::with_capacity(self.rest.len());
        while let Some(at) = self.rest.find('$') {
            text.push_str(&self.rest[..at]);
            self.rest = &self.rest[at + 1..];
            if let Some(escaped) = self.rest.strip_prefix('$') {
                text.push('$');
                self.rest = escaped;
                if let Some(inner) = escaped.strip_prefix('{') {
                    text.push('{');
                    self.rest = inner;
                }
            } else if let Some(inner) = self.rest.strip_prefix('{') {
                let start = self.rest;
                self.rest = inner;
                let value = self.expression().ok_or_else(|| bad(start))?;
                text.push_str(&value);
            } else {
                text.push('$');
            }
        }
        text.push_str(self.rest);
        self.rest = "";
        Ok(text)
    }

    /// Reads one expression behind its `${`, up to and with its `}`.
    fn expression(&mut self) -> Option<String> {
        if self.take("#") {
            let name = self.name()?;
            let value = self.value(&name, true);
            return self.close(value.len().to_string());
        }
        let name = self.name()?;
        let operator = [
            "^^", "^", ",,", ",", "##", "#", "%%", "%", "//", "/#", "/%", "/", ":=", ":-", ":?", ":+", ":",
            "=",
        ]
        .into_iter()
        .find(|operator| self.take(operator));
        let Some(operator) = operator else {
            let value = self.value(&name, true);
            return self.close(value);
        };
        match operator {
            "=" | ":=" | ":-" | ":?" | ":+" => {
                let word = self.word(&[])?;
                let value = self.value(&name, false);
                self.close(if value.is_empty() { word } else { value })
            }
            "^^" | "^" | ",," | "," => {
                let value = self.value(&name, true);
                self.close(case(operator, &value))
            }
            ":" => {
                let position = self.word(&[':'])?;
                let length = if self.take(":") { Some(self.word(&[])?) } else { None };
                let value = self.value(&name, true);
                self.close(slice(&value, &position, length.as_deref()))
            }
            "#" | "##" | "%" | "%%" => {
                let pattern = self.word(&[])?;
                let value = self.value(&name, true);
                self.close(trim(operator, &value, &pattern))
            }
            _ => {
                let old = self.word(&['/'])?;
                if !self.take("/") {
                    return None;
                }
                let new = self.word(&[])?;
                let value = self.value(&name, true);
                self.close(replace(operator, &value, &old, &new))
            }
        }
    }

    fn take(&mut self, prefix: &str) -> bool {
        self.rest.strip_prefix(prefix).is_some_and(|rest| {
            self.rest = rest;
            true
        })
    }

    fn close(&mut self, value: String) -> Option<String> {
        self.take("}").then_some(value)
    }

    fn name(&mut self) -> Option<String> {
        let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then(|| name.to_owned())
    }

    /// Reads an operand up to `}` or a stop character; nested expressions are resolved, `\/` is a slash.
    fn word(&mut self, stops: &[char]) -> Option<String> {
        let mut word = String::new();
        loop {
            if self.take("${") {
                word.push_str(&self.expression()?);
                continue;
            }
            if self.take("\\/") {
                word.push('/');
                continue;
            }
            let next = self.rest.chars().next()?;
            if next == '}' || stops.contains(&next) {
                return Some(word);
            }
            word.push(next);
            self.rest = &self.rest[next.len_utf8()..];
        }
    }

    fn value(&mut self, name: &str, required: bool) -> String {
        self.out.asked.insert(name.to_owned());
        if let Some(value) = self.variables.get(name) {
            value.clone()
        } else {
            if required {
                self.out.unset.insert(name.to_owned());
            }
            String::new()
        }
    }
}

fn bad(start: &str) -> BadSubstitution {
    let line = start.lines().next().unwrap_or_default();
    BadSubstitution { excerpt: format!("${}", line.chars().take(60).collect::<String>()) }
}

fn case(operator: &str, value: &str) -> String {
    let first = |change: fn(char) -> String| {
        let mut characters = value.chars();
        characters.next().map_or_else(String::new, |c| change(c) + characters.as_str())
    };
    match operator {
        "^^" => value.to_uppercase(),
        ",," => value.to_lowercase(),
        "^" => first(|c| c.to_uppercase().collect()),
        _ => first(|c| c.to_lowercase().collect()),
    }
}

/// Positions count bytes, as in the original; a cut inside a character moves to its start.
fn slice(value: &str, position: &str, length: Option<&str>) -> String {
    let Ok(position) = position.trim().parse::<i64>() else { return value.to_owned() };
    let total = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let start = if position < 0 { (total + position).max(0) } else { position.min(total) };
    let end = match length.map(|text| text.trim().parse::<i64>()) {
        None => total,
        Some(Ok(length)) => (start + length).clamp(start, total),
        Some(Err(_)) => return value.to_owned(),
    };
    let floor = |at: i64| {
        (0..=usize::try_from(at).unwrap_or(0)).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0)
    };
    value[floor(start)..floor(end)].to_owned()
}

fn replace(operator: &str, value: &str, old: &str, new: &str) -> String {
    match operator {
        "//" => value.replace(old, new),
        "/#" => value.strip_prefix(old).map_or_else(|| value.to_owned(), |rest| format!("{new}{rest}")),
        "/%" => value.strip_suffix(old).map_or_else(|| value.to_owned(), |rest| format!("{rest}{new}")),
        _ => value.replacen(old, new, 1),
    }
}

fn trim(operator: &str, value: &str, pattern: &str) -> String {
    let glob: Vec<char> = pattern.chars().collect();
    let characters: Vec<char> = value.chars().collect();
    let count = characters.len();
    let lengths: Box<dyn Iterator<Item = usize>> =
        if operator.len() == 2 { Box::new((1..=count).rev()) } else { Box::new(1..=count) };
    for length in lengths {
        let (cut, kept) = if operator.starts_with('#') {
            characters.split_at(length)
        } else {
            let (kept, cut) = characters.split_at(count - length);
            (cut, kept)
        };
        if matches(&glob, cut) {
            return kept.iter().collect();
        }
    }
    value.to_owned()
}

/// Whether the whole of `text` matches a glob of `*`, `?` and literals.
fn matches(glob: &[char], text: &[char]) -> bool {
    match glob.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
        Some(('?', rest)) => !text.is_empty() && matches(rest, &text[1..]),
        Some(('\\', rest)) if !rest.is_empty() => {
            text.first() == Some(&rest[0]) && matches(&rest[1..], &text[1..])
        }
        Some((literal, rest)) => text.first() == Some(literal) && matches(rest, &text[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> BTreeMap<String, String> {
        [
            ("V", "abcdEFGH28ij"),
            ("UP", "ABC"),
            ("PATHNAME", "/home/bozo/ideas/thoughts.for.today"),
            ("Z", "abcABC123ABCabc"),
            ("FILE", "bash.string.txt"),
            ("DIR", "path/to/file"),
            ("EMPTY", ""),
            ("D", "foo1"),
            ("DOMAIN", "a.example.org"),
            ("SLASH", "foo/bar/baz"),
            ("IMAGE", "1.2.3@sha256:abcdrest"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }

    #[track_caller]
    fn check(input: &str, expected: &str) {
        assert_eq!(
            substitute(input, &variables()).map(|s| s.text),
            Ok(expected.to_owned()),
            "input {input:?}"
        );
    }

    #[test]
    fn each_form_of_flux() {
        check("plain", "plain");
        check("}text", "}text");
        check("${V}", "abcdEFGH28ij");
        check("x-${V}-y", "x-abcdEFGH28ij-y");
        check("$V stays", "$V stays");
        check("price $5", "price $5");
        check("${#V}", "12");
        check("${V^}", "AbcdEFGH28ij");
        check("${V^^}", "ABCDEFGH28IJ");
        check("${UP,}", "aBC");
        check("${UP,,}", "abc");
        check("${PATHNAME:11}", "ideas/thoughts.for.today");
        check("${PATHNAME:11:5}", "ideas");
        check("${V:0:5}", "abcdE");
        check("${V:-5}", "abcdEFGH28ij");
        check("${V:99}", "");
        check("${V:99:2}", "");
        for operator in ["=", ":=", ":-", ":?", ":+"] {
            check(&format!("${{NOT{operator}xyz}}"), "xyz");
            check(&format!("${{EMPTY{operator}xyz}}"), "xyz");
            check(&format!("${{D{operator}xyz}}"), "foo1");
        }
        check("${NOT:=${D}}", "foo1");
        check("${NOT:=${ALSO:-${D}}}", "foo1");
        check("${NOT=prefix${D}-suffix}", "prefixfoo1-suffix");
        check("${NOT:=0 * * * *}", "0 * * * *");
        check("${NOT=\"0 */12 * * *\"}", "\"0 */12 * * *\"");
        check("${NOT:=}", "");
        check("${Z/%abc/XYZ}", "abcABC123ABCXYZ");
        check("${Z/#abc/XYZ}", "XYZABC123ABCabc");
        check("${Z//abc/xyz}", "xyzABC123ABCxyz");
        check("${Z/abc/xyz}", "xyzABC123ABCabc");
        check("${DOMAIN//./-}", "a-example-org");
        check("${DOMAIN/./}", "aexample.org");
        check(r"${SLASH/\//-}", "foo-bar/baz");
        check(r"${SLASH//\//-}", "foo-bar-baz");
        check("${FILE#*.}", "string.txt");
        check("${FILE##*.}", "txt");
        check("${FILE%.*}", "bash.string");
        check("${FILE%%.*}", "bash");
        check("${DIR#*/}", "to/file");
        check("${DIR##*/}", "file");
        check("${IMAGE#*@sha256:????}", "rest");
        check("$${V}", "${V}");
        check("a $${V} b ${D}", "a ${V} b foo1");
        check("$$word", "$word");
        check("something $${var=${D}}", "something ${var=foo1}");
    }

    #[test]
    fn what_is_unset_is_named_and_a_default_is_not_unset() {
        let done = substitute("${A}-${B:=x}-${C:0:2}-${A}-${N:=${M}}", &variables()).unwrap();
        assert_eq!(done.text, "-x---");
        assert_eq!(done.unset.into_iter().collect::<Vec<_>>(), ["A", "C", "M"]);
        assert!(done.asked.contains("B"));
    }

    #[test]
    fn what_flux_cannot_parse_is_refused() {
        for input in ["${", "${}", "${args[@]}", "${V", "${A-b}", "${A+b}", "${V/x}", "${V!}", "${:=x}"] {
            assert!(substitute(input, &variables()).is_err(), "{input} must be refused");
        }
        assert_eq!(substitute("x: ${args[@]}\ny", &variables()).unwrap_err().excerpt, "${args[@]}");
    }

    #[test]
    fn names_are_found_without_substituting() {
        assert_eq!(
            names("${A} $${B} ${C:=${D}} $E ${#F}").into_iter().collect::<Vec<_>>(),
            ["A", "C", "D", "F"]
        );
    }

    proptest::proptest! {
        #[test]
        fn text_without_a_dollar_is_returned_as_it_was(text in "[^$]*") {
            proptest::prop_assert_eq!(substitute(&text, &variables()).unwrap().text, text);
        }

        #[test]
        fn no_input_makes_it_panic(text in "[$]?[{]?[A-Z:=/#%^,.*0-9{}$a-z -]{0,40}") {
            let _ = substitute(&text, &variables());
        }
    }
}
