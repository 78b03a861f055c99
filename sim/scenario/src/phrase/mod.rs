//! Phrases: a user's words for each step, in one table, readable in both directions.
//!
//! [`read`] turns a sentence into a [`Step`], [`write`] turns a step into its canonical sentence. The
//! same table serves the runner (which reads features with the `gherkin` parser) and stock cucumber. It
//! promises that each sentence fits at most one phrase, and that phrase to step to YAML and back is a
//! round trip; tests walk every phrase with and without its optional parts. It never acts. Read
//! [`template`] for how a phrase is written down, then one file per concept.

mod cluster;
mod controller;
mod data;
mod fault;
mod maintenance;
mod replication;
mod repository;
mod status;
pub mod template;
mod time;
mod volume;

use std::{collections::BTreeMap, fmt, str::FromStr, sync::LazyLock};

use regex::Regex;

use crate::{fields::Fields, step::Step};

/// How a sentence begins; `And` counts as what it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keyword {
    /// Builds.
    Given,
    /// Acts.
    When,
    /// Looks.
    Then,
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "Given",
            Self::When => "When",
            Self::Then => "Then",
        })
    }
}

/// One step as Gherkin has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// Given, When or Then.
    pub keyword: Keyword,
    /// The words after the keyword.
    pub text: String,
    /// The table below it; empty if none.
    pub rows: Vec<Vec<String>>,
    /// The doc string below it.
    pub doc: Option<String>,
}

impl Sentence {
    /// A sentence of words alone.
    pub fn new(keyword: Keyword, text: impl Into<String>) -> Self {
        Self { keyword, text: text.into(), rows: Vec::new(), doc: None }
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.keyword, self.text)?;
        for row in &self.rows {
            write!(f, "\n  | {} |", row.join(" | "))?;
        }
        if let Some(doc) = &self.doc {
            write!(f, "\n  \"\"\"\n  {}\n  \"\"\"", doc.replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

/// What may stand below a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// Nothing.
    Nothing,
    /// A table of fields and values, or nothing.
    Fields,
    /// A table of fields and values.
    NeedsFields,
    /// A doc string.
    Document,
}

/// One phrase: its template and its meaning in both directions.
pub struct Phrase {
    /// Given, When or Then.
    pub keyword: Keyword,
    /// The words; see [`template`].
    pub template: &'static str,
    /// What may stand below.
    pub below: Below,
    /// Sample of a doc string, for tests and help.
    pub sample: &'static str,
    read: fn(&Words<'_>) -> Result<Step, String>,
    write: fn(&Step) -> Option<Said>,
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.keyword, self.template)
    }
}

/// What a sentence says, to be read by a phrase.
pub struct Words<'a> {
    values: BTreeMap<String, &'a str>,
    sentence: &'a Sentence,
}

impl Words<'_> {
    /// A part of the sentence, as whatever it must be.
    fn get<T: FromStr<Err: fmt::Display>>(&self, key: &str) -> Result<T, String> {
        self.maybe(key)?.ok_or_else(|| format!("the sentence lacks its {key}"))
    }

    /// An optional part of the sentence.
    fn maybe<T: FromStr<Err: fmt::Display>>(&self, key: &str) -> Result<Option<T>, String> {
        let value = self.values.get(key);
        value.map(|text| text.parse().map_err(|error| format!("{key}: {error}"))).transpose()
    }

    /// Whether an optional part of words alone was said; the part is marked by `{key:said}`.
    fn fields(&self) -> Result<Fields, String> {
        Fields::from_rows(&self.sentence.rows)
    }

    fn document(&self) -> String {
        self.sentence.doc.clone().unwrap_or_default()
    }
}

/// What a phrase says of a step, to be filled into its template.
#[derive(Default)]
pub struct Said {
    values: BTreeMap<&'static str, String>,
    rows: Vec<Vec<String>>,
    doc: Option<String>,
}

impl Said {
    fn new() -> Self {
        Self::default()
    }
    fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.values.insert(key, value.to_string());
        self
    }
    fn maybe(self, key: &'static str, value: Option<&impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }
    fn fields(mut self, fields: &Fields) -> Self {
        self.rows = fields.to_rows();
        self
    }
    fn document(mut self, text: &str) -> Self {
        self.doc = Some(text.to_owned());
        self
    }
}

const fn phrase(
    keyword: Keyword,
    template: &'static str,
    read: fn(&Words<'_>) -> Result<Step, String>,
    write: fn(&Step) -> Option<Said>,
) -> Phrase {
    Phrase { keyword, template, below: Below::Nothing, sample: "", read, write }
}

impl Phrase {
    const fn below(mut self, below: Below) -> Self {
        self.below = below;
        self
    }
    const fn sample(mut self, sample: &'static str) -> Self {
        self.below = Below::Document;
        self.sample = sample;
        self
    }

    /// The anchored regular expression of the words.
    pub fn regex(&self) -> Regex {
        Regex::new(&template::expression(self.template))
            .expect("a template makes a valid expression; a test walks all")
    }

    fn check_below(&self, sentence: &Sentence) -> Result<(), String> {
        let table = !sentence.rows.is_empty();
        let document = sentence.doc.is_some();
        match self.below {
            Below::Nothing if table || document => {
                Err("nothing may stand below this step: take the table or text away".into())
            }
            Below::Fields | Below::NeedsFields if document => {
                Err("a table | field | value | belongs here, not a text".into())
            }
            Below::NeedsFields if !table => {
                Err("a table | field | value | is missing below this step".into())
            }
            Below::Document if table || !document => {
                Err("a text between two lines of \"\"\" is missing below this step".into())
            }
            _ => Ok(()),
        }
    }
}

/// Every phrase, by concept.
pub fn table() -> impl Iterator<Item = &'static Phrase> {
    let concepts = [
        volume::PHRASES,
        repository::PHRASES,
        replication::PHRASES,
        maintenance::PHRASES,
        time::PHRASES,
        cluster::PHRASES,
        controller::PHRASES,
        fault::PHRASES,
        data::PHRASES,
        status::PHRASES,
    ];
    concepts.into_iter().flatten()
}

static EXPRESSIONS: LazyLock<Vec<(&'static Phrase, Regex)>> =
    LazyLock::new(|| table().map(|phrase| (phrase, phrase.regex())).collect());

/// Why a sentence is no step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No phrase fits.
    #[error("no phrase fits {sentence:?}; the nearest is: {nearest}")]
    Unknown {
        /// The sentence.
        sentence: String,
        /// The template that shares most words with it.
        nearest: String,
    },
    /// A phrase fits, but a part of it does not.
    #[error("{sentence:?}: {problem}")]
    Part {
        /// The sentence.
        sentence: String,
        /// What is wrong, and how to mend it.
        problem: String,
    },
}

/// Reads a sentence.
///
/// # Errors
/// [`Error::Unknown`] with the nearest phrase, or [`Error::Part`] with what does not fit.
pub fn read(sentence: &Sentence) -> Result<Step, Error> {
    let found = EXPRESSIONS
        .iter()
        .filter(|(phrase, _)| phrase.keyword == sentence.keyword)
        .find_map(|(phrase, expression)| Some((phrase, expression, expression.captures(&sentence.text)?)));
    let Some((phrase, expression, captures)) = found else {
        return Err(Error::Unknown {
            sentence: format!("{} {}", sentence.keyword, sentence.text),
            nearest: nearest(sentence),
        });
    };
    let values = expression.capture_names().flatten();
    let values = values.filter_map(|name| Some((name.to_owned(), captures.name(name)?.as_str()))).collect();
    let part = |problem| Error::Part { sentence: sentence.text.clone(), problem };
    phrase.check_below(sentence).map_err(part)?;
    (phrase.read)(&Words { values, sentence }).map_err(part)
}

/// Writes a step in its canonical words; `None` if a text in it cannot stand in a sentence.
pub fn write(step: &Step) -> Option<Sentence> {
    table().find_map(|phrase| {
        let said = (phrase.write)(step)?;
        let text = template::fill(phrase.template, &said.values);
        Some(Sentence { keyword: phrase.keyword, text, rows: said.rows, doc: said.doc })
    })
}

/// A short sentence for reports, whatever the step holds.
pub fn title(step: &Step) -> String {
    write(step)
        .map_or_else(|| format!("{step:?}"), |sentence| format!("{} {}", sentence.keyword, sentence.text))
}

fn nearest(sentence: &Sentence) -> String {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let wanted = words(&sentence.text);
    let shared = |phrase: &Phrase| {
        let have = words(phrase.template);
        let common = wanted.iter().filter(|word| have.contains(word)).count();
        (2 * common).cast_signed() - have.len().cast_signed()
            + isize::from(phrase.keyword == sentence.keyword)
    };
    let best = table().max_by_key(|phrase| shared(phrase)).expect("the table is not empty");
    format!("{} {}", best.keyword, best.template)
}

#[cfg(test)]
mod tests;
