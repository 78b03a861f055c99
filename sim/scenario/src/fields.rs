//! Fields of a spec by path: `retain.daily: 7`, `copyMethod: Snapshot`.
//!
//! The paths are those of the custom resource, which users know from their manifests. A value is any
//! YAML; `@name` stands for the time of a remembered moment and is resolved when the step is played.
//! Ordered by path. It does not know which fields exist: the API server does, and rejects or prunes.

use std::collections::{BTreeMap, btree_map};

use json::{Map, Value};
use serde::{Deserialize, Serialize};

/// Values by dotted path.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fields(BTreeMap<String, Value>);

impl Fields {
    /// No field at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one.
    #[must_use]
    pub fn with(mut self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.insert(path.into(), value.into());
        self
    }

    /// One by its path.
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.0.get(path)
    }

    /// All, by path.
    #[expect(clippy::iter_without_into_iter, reason = "one spelling is enough")]
    pub fn iter(&self) -> btree_map::Iter<'_, String, Value> {
        self.0.iter()
    }

    /// As rows of a table: path and value, a text bare where it cannot be mistaken.
    pub fn to_rows(&self) -> Vec<Vec<String>> {
        self.0.iter().map(|(path, value)| vec![path.clone(), write_value(value)]).collect()
    }

    /// From rows of a table.
    ///
    /// # Errors
    /// A sentence that names the row: not two cells, a path twice, a value that is no YAML.
    pub fn from_rows(rows: &[Vec<String>]) -> Result<Self, String> {
        let mut fields = BTreeMap::new();
        for row in rows {
            let [path, value] = row.as_slice() else {
                return Err(format!("row {row:?} has {} cells: write | field | value |", row.len()));
            };
            if path.is_empty() {
                return Err(format!("row {row:?} names no field: write | field | value |"));
            }
            if fields.insert(path.clone(), read_value(value)?).is_some() {
                return Err(format!("field {path:?} is set twice: keep one row"));
            }
        }
        Ok(Self(fields))
    }

    /// Sets each field in an object, creating the objects on the way; null removes.
    pub fn set_in(&self, target: &mut Value) {
        for (path, value) in &self.0 {
            set(target, path, value.clone());
        }
    }
}

impl FromIterator<(String, Value)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

/// The segments of a path; a dot within a segment is written `\.`.
pub fn segments(path: &str) -> Vec<String> {
    let mut segments = vec![String::new()];
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&'.') => {
                characters.next();
                segments.last_mut().expect("starts with one").push('.');
            }
            '.' => segments.push(String::new()),
            other => segments.last_mut().expect("starts with one").push(other),
        }
    }
    segments
}

/// Looks a path up; a segment of digits indexes a list.
pub fn look<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    segments(path).iter().try_fold(value, |value, segment| match value {
        Value::Object(map) => map.get(segment.as_str()),
        Value::Array(list) => list.get(segment.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Sets a path, creating objects on the way.
pub fn set(target: &mut Value, path: &str, value: Value) {
    let segments = segments(path);
    let (last, way) = segments.split_last().expect("a path has a segment");
    let mut place = target;
    for segment in way {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = place
            .as_object_mut()
            .expect("just made one")
            .entry(segment.clone())
            .or_insert(Value::Object(Map::new()));
    }
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    place.as_object_mut().expect("just made one").insert(last.clone(), value);
}

fn read_value(text: &str) -> Result<Value, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Value::from(""));
    }
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) if text.starts_with(['{', '[', '"']) => {
            Err(format!("value {text:?} is no JSON ({error}): quote its keys and texts"))
        }
        Err(_) => Ok(Value::from(text)),
    }
}

fn write_value(value: &Value) -> String {
    match value {
        Value::String(text) if read_value(text) == Ok(value.clone()) => text.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use json::json;
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~]{0,12}".prop_map(Value::from),
            Just(Value::Null),
            Just(json!("true")),
            Just(json!("12")),
            Just(json!(["ReadWriteOnce"])),
            Just(json!({"runAsUser": 568})),
        ]
    }

    proptest! {
        #[test]
        fn rows_and_fields_are_two_spellings(values in prop::collection::btree_map("[a-z.]{1,9}", any_value(), 0..5)) {
            let fields: Fields = values.into_iter().collect();
            prop_assert_eq!(Fields::from_rows(&fields.to_rows()), Ok(fields));
        }
    }

    #[test]
    fn a_path_sets_and_finds_nested_fields() {
        let fields = Fields::new().with("retain.daily", 7).with("metadata.labels.a\\.b/c", "x");
        let mut object = json!({"retain": {"hourly": 1}});
        fields.set_in(&mut object);
        assert_eq!(
            object,
            json!({"retain": {"hourly": 1, "daily": 7}, "metadata": {"labels": {"a.b/c": "x"}}})
        );
        assert_eq!(look(&object, "retain.daily"), Some(&json!(7)));
        assert_eq!(look(&object, "retain.weekly"), None);
        assert_eq!(look(&json!({"list": [{"a": 1}]}), "list.0.a"), Some(&json!(1)));
    }

    #[test]
    fn a_bad_row_says_its_cure() {
        for (rows, words) in [
            (vec![vec!["a".to_owned()]], "write | field | value |"),
            (vec![vec!["a".to_owned(), "{x".to_owned()]], "quote its keys"),
            (vec![vec!["a".to_owned(), "1".to_owned()], vec!["a".to_owned(), "2".to_owned()]], "set twice"),
        ] {
            let error = Fields::from_rows(&rows).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
