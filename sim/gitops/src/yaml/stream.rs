//! Cuts a YAML stream into its documents without holding the stream.
//!
//! Promises that a document marker (`---` or `...` at the start of a line) ends a document, as in the
//! specification, that each piece keeps its first line's number, and that no piece is larger than
//! [`DOCUMENT_BYTES_MAX`]. Does not decide which documents matter.

use std::io::BufRead;
use std::sync::Arc;

use serde_json::Value;

use super::Origin;
use crate::Error;
use crate::model::{Problem, Severity};

/// Three times etcd's default request limit of 1.5 MiB, doubled: no cluster accepts a larger object.
pub const DOCUMENT_BYTES_MAX: usize = 9 << 20;

/// The text of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The text between two markers.
    pub text: String,
    /// Where it begins.
    pub origin: Origin,
}

/// Yields the documents of a reader one by one.
pub struct Stream<R> {
    reader: R,
    file: Arc<str>,
    line: u32,
    done: bool,
    /// What stood behind the marker that ended the last document, and where the next one begins.
    head: Option<(String, u32)>,
}

impl<R: BufRead> Stream<R> {
    /// A stream over a file's bytes.
    pub fn new(reader: R, file: &str) -> Self {
        Self { reader, file: file.into(), line: 0, done: false, head: None }
    }

    /// Reads one line; bytes that are not UTF-8 are replaced, so that a binary file is merely no YAML.
    fn line(&mut self, room: usize) -> Result<Option<String>, Error> {
        let mut bytes = Vec::new();
        let limit = room as u64 + 1;
        let read = std::io::Read::take(&mut self.reader, limit)
            .read_until(b'\n', &mut bytes)
            .map_err(|source| Error::Read { file: self.file.to_string(), line: self.line, source })?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, Error> {
        let (mut text, mut first) = self.head.take().unwrap_or_else(|| (String::new(), self.line + 1));
        while !self.done {
            let room = DOCUMENT_BYTES_MAX.saturating_sub(text.len());
            let Some(line) = self.line(room)? else {
                self.done = true;
                break;
            };
            if line.len() > room {
                return Err(Error::DocumentTooLarge {
                    file: self.file.to_string(),
                    line: first,
                    limit: DOCUMENT_BYTES_MAX,
                });
            }
            let is_marker = |marker: &str| {
                line.strip_prefix(marker)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r']))
            };
            if is_marker("---") || is_marker("...") {
                let full = !text.trim().is_empty();
                let chunk = Chunk {
                    text: std::mem::take(&mut text),
                    origin: Origin { file: self.file.clone(), line: first },
                };
                // What stands behind a marker on its own line belongs to the next document.
                let rest = line[3..].trim();
                first = self.line + 1;
                if !rest.is_empty() && !rest.starts_with(['#', '%']) {
                    text = format!("{rest}\n");
                    first = self.line;
                }
                if full {
                    self.head = Some((text, first));
                    return Ok(Some(chunk));
                }
                continue;
            }
            if text.is_empty() && line.trim().is_empty() {
                first = self.line + 1;
                continue;
            }
            text.push_str(&line);
        }
        Ok((!text.trim().is_empty())
            .then(|| Chunk { text, origin: Origin { file: self.file.clone(), line: first } }))
    }
}

impl<R: BufRead> Iterator for Stream<R> {
    type Item = Result<Chunk, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.next_chunk() {
            Ok(chunk) => chunk.map(Ok),
            Err(error) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }
}

/// Parses one document's text.
///
/// # Errors
/// A [`Problem`] with the line in the file and a cure.
pub fn parse(text: &str, origin: &Origin) -> Result<Value, Problem> {
    let mut options = serde_saphyr::Options::default();
    options.legacy_octal_numbers = true;
    options.with_snippet = false;
    serde_saphyr::from_str_with_options::<Value>(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line().saturating_sub(1) as u32);
        let message = error.to_string();
        let message = message.lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
        let tab = text
            .lines()
            .nth(line as usize)
            .is_some_and(|line| line.trim_start_matches(' ').starts_with('\t'));
        let cure = if tab {
            "indent with spaces: YAML forbids tabs there".to_owned()
        } else if message.contains("duplicate") {
            "keep one of the two keys; kustomize refuses the file too".to_owned()
        } else {
            "mend the YAML; `kubectl apply --dry-run=client -f` on the file shows the same".to_owned()
        };
        Problem::new("invalid-yaml", Severity::Broken, format!("not valid YAML: {message}"), cure)
            .at(Origin { file: origin.file.clone(), line: origin.line + line })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(u32, String)> {
        Stream::new(text.as_bytes(), "f")
            .map(|chunk| chunk.map(|c| (c.origin.line, c.text)).unwrap())
            .collect()
    }

    fn value(text: &str) -> Value {
        parse(text, &Origin::new("f", 1)).unwrap()
    }

    #[test]
    fn documents_keep_their_lines() {
        assert_eq!(cut("---\na: 1\n---\n\nb: 2\n"), [(2, "a: 1\n".into()), (5, "b: 2\n".into())]);
        assert_eq!(
            cut("a: 1\n...\n---\nb: |\n  --- not a marker\n"),
            [(1, "a: 1\n".into()), (4, "b: |\n  --- not a marker\n".into())]
        );
        assert_eq!(cut("--- # comment\na: 1"), [(2, "a: 1".into())]);
        assert_eq!(cut("--- {a: 1}\n--- {b: 2}\n"), [(1, "{a: 1}\n".into()), (2, "{b: 2}\n".into())]);
        assert_eq!(cut("---\n---\n\n"), []);
        assert_eq!(cut("# only a comment\n").len(), 1);
    }

    #[test]
    fn yaml_is_read_as_kubernetes_tools_read_it() {
        assert_eq!(
            value("mode: 0644\nport: 8080\nq: \"0644\""),
            serde_json::json!({"mode": 420, "port": 8080, "q": "0644"})
        );
        assert_eq!(
            value("a: &x word\nb: *x\nc: yes"),
            serde_json::json!({"a": "word", "b": "word", "c": true})
        );
        assert_eq!(
            value("base: &b {k: 1}\nd:\n  <<: *b\n  l: 2"),
            serde_json::json!({"base": {"k": 1}, "d": {"k": 1, "l": 2}})
        );
        assert_eq!(value("s: 0 * * * *"), serde_json::json!({"s": "0 * * * *"}));
        assert_eq!(
            value("t: true\nn: null\ne: ~\nf: 1.5"),
            serde_json::json!({"t": true, "n": null, "e": null, "f": 1.5})
        );
        assert_eq!(value("8080: x"), serde_json::json!({"8080": "x"}));
        assert_eq!(
            value("t: 2026-01-01\nm: |\n  a\n  b\n"),
            serde_json::json!({"t": "2026-01-01", "m": "a\nb\n"})
        );
    }

    #[test]
    fn an_error_tells_file_line_and_cure() {
        let problem = parse("a: 1\nb: [1, 2\nc: 3\n", &Origin::new("x.yaml", 10)).unwrap_err();
        let origin = problem.origin.clone().unwrap();
        assert_eq!(&*origin.file, "x.yaml");
        assert!((11..=13).contains(&origin.line), "{origin}");
        assert!(!problem.cure.is_empty());
        let tab = parse("a:\n\tb: 1\n", &Origin::new("x.yaml", 1)).unwrap_err();
        assert!(tab.cure.contains("spaces"), "{tab:?}");
        let twice = parse("a: 1\na: 2\n", &Origin::new("x.yaml", 1)).unwrap_err();
        assert!(twice.message.contains("uplicate"), "{twice:?}");
    }

    #[test]
    fn an_alias_without_anchor_is_an_error_as_in_flux() {
        assert!(parse("schedule: */15 * * * *", &Origin::new("f", 1)).is_err());
    }

    #[test]
    fn a_document_without_end_is_refused_before_it_fills_memory() {
        let endless = std::io::BufReader::new(std::io::repeat(b'a'));
        let error = Stream::new(endless, "big").next().unwrap().unwrap_err();
        assert!(matches!(error, Error::DocumentTooLarge { line: 1, .. }), "{error}");
    }
}
