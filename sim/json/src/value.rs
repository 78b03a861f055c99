//! One JSON value.

use std::fmt;
use std::ops;

use serde_json::Number;

use crate::{List, Map, Text};

/// Any JSON value. Copying one costs a few counts of references, however large it is.
#[derive(Clone, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number, as `serde_json` keeps it.
    Number(Number),
    /// Text.
    String(Text),
    /// A list.
    Array(List),
    /// A map, sorted by key.
    Object(Map),
}

static NULL: Value = Value::Null;

impl Value {
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The whole number, if it is one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Number(number) = self { number.as_i64() } else { None }
    }

    /// The whole number from 0 on, if it is one that fits.
    pub fn as_u64(&self) -> Option<u64> {
        if let Self::Number(number) = self { number.as_u64() } else { None }
    }

    /// Whether it is a whole number that fits into an `i64`.
    pub fn is_i64(&self) -> bool {
        self.as_i64().is_some()
    }

    /// Whether it is a whole number from 0 on.
    pub fn is_u64(&self) -> bool {
        self.as_u64().is_some()
    }

    /// The number, as near as a float comes.
    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Number(number) = self { number.as_f64() } else { None }
    }

    /// The list, if it is one.
    pub fn as_array(&self) -> Option<&List> {
        if let Self::Array(list) = self { Some(list) } else { None }
    }

    /// The list, to be changed.
    pub fn as_array_mut(&mut self) -> Option<&mut List> {
        if let Self::Array(list) = self { Some(list) } else { None }
    }

    /// The map, if it is one.
    pub fn as_object(&self) -> Option<&Map> {
        if let Self::Object(map) = self { Some(map) } else { None }
    }

    /// The map, to be changed.
    pub fn as_object_mut(&mut self) -> Option<&mut Map> {
        if let Self::Object(map) = self { Some(map) } else { None }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether it is text.
    pub fn is_string(&self) -> bool {
        matches!(self, Self::String(_))
    }

    /// Whether it is a number.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Number(_))
    }

    /// Whether it is yes or no.
    pub fn is_boolean(&self) -> bool {
        matches!(self, Self::Bool(_))
    }

    /// Whether it is a list.
    pub fn is_array(&self) -> bool {
        matches!(self, Self::Array(_))
    }

    /// Whether it is a map.
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// What stands at a key of a map or a place of a list.
    pub fn get(&self, index: impl Index) -> Option<&Self> {
        index.of(self)
    }

    /// What stands at a key of a map or a place of a list, to be changed.
    pub fn get_mut(&mut self, index: impl Index) -> Option<&mut Self> {
        index.of_mut(self)
    }

    /// Merges a patch into the value (RFC 7396): maps by key, null removes, anything else replaces. What the patch
    /// does not change stays shared.
    pub fn merge(&mut self, patch: &Self) {
        let Self::Object(changes) = patch else {
            if self != patch {
                self.clone_from(patch);
            }
            return;
        };
        if !self.is_object() {
            *self = Self::Object(Map::new());
        }
        let Self::Object(map) = self else { return };
        for (key, change) in changes {
            match map.get(key) {
                _ if change.is_null() => drop(map.remove(key)),
                Some(found) if found == change => {}
                Some(_) => map.get_mut(key).into_iter().for_each(|found| found.merge(change)),
                None => {
                    let mut made = Self::Null;
                    made.merge(change);
                    map.insert(key.clone(), made);
                }
            }
        }
    }

    /// Takes the value and leaves null.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

/// What a value can be asked for by: a key of a map, or a place in a list.
pub trait Index {
    /// What stands there.
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value>;
    /// What stands there, to be changed.
    fn of_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value>;
    /// What stands there, made as null where a map has nothing.
    ///
    /// # Panics
    /// If the value is something else, or the list is shorter.
    fn made<'a>(&self, value: &'a mut Value) -> &'a mut Value;
}

impl Index for str {
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.as_object()?.get(self)
    }

    fn of_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        value.as_object_mut()?.get_mut(self)
    }

    fn made<'a>(&self, value: &'a mut Value) -> &'a mut Value {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        let Value::Object(map) = value else { panic!("there is no {self:?} in {value}, which is no map") };
        map.entry(self).or_insert(Value::Null)
    }
}

impl Index for usize {
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.as_array()?.get(*self)
    }

    fn of_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        value.as_array_mut()?.get_mut(*self)
    }

    fn made<'a>(&self, value: &'a mut Value) -> &'a mut Value {
        let Value::Array(list) = value else {
            panic!("there is no place {self} in {value}, which is no list")
        };
        let length = list.len();
        list.get_mut(*self).unwrap_or_else(|| panic!("there is no place {self} in a list of {length}"))
    }
}

impl Index for String {
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.as_str().of(value)
    }

    fn of_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        self.as_str().of_mut(value)
    }

    fn made<'a>(&self, value: &'a mut Value) -> &'a mut Value {
        self.as_str().made(value)
    }
}

impl Index for Text {
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.as_str().of(value)
    }

    fn of_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        self.as_str().of_mut(value)
    }

    fn made<'a>(&self, value: &'a mut Value) -> &'a mut Value {
        self.as_str().made(value)
    }
}

impl<I: Index + ?Sized> Index for &I {
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        (**self).of(value)
    }

    fn of_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        (**self).of_mut(value)
    }

    fn made<'a>(&self, value: &'a mut Value) -> &'a mut Value {
        (**self).made(value)
    }
}

impl<I: Index> ops::Index<I> for Value {
    type Output = Self;
    /// What stands there, or null.
    fn index(&self, index: I) -> &Self {
        index.of(self).unwrap_or(&NULL)
    }
}

impl<I: Index> ops::IndexMut<I> for Value {
    fn index_mut(&mut self, index: I) -> &mut Self {
        index.made(self)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Takes the bytes of JSON, which come in whole characters.
        struct Bytes<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl std::io::Write for Bytes<'_, '_> {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let text = std::str::from_utf8(bytes).map_err(std::io::Error::other)?;
                self.0.write_str(text).map_err(std::io::Error::other)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        if f.alternate() {
            return serde_json::to_writer_pretty(Bytes(f), self).map_err(|_| fmt::Error);
        }
        serde_json::to_writer(Bytes(f), self).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! from_numbers {
    ($($number:ty)+) => { $(
        impl From<$number> for Value {
            fn from(number: $number) -> Self {
                Self::Number(number.into())
            }
        }
        impl PartialEq<$number> for Value {
            fn eq(&self, other: &$number) -> bool {
                matches!(self, Self::Number(number) if *number == Number::from(*other))
            }
        }
    )+ };
}

from_numbers!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

impl From<f64> for Value {
    /// A number; null for what JSON cannot say.
    fn from(number: f64) -> Self {
        Number::from_f64(number).map_or(Self::Null, Self::Number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}

macro_rules! from_texts {
    ($($text:ty)+) => { $(
        impl From<$text> for Value {
            fn from(text: $text) -> Self {
                let text: &str = text.as_ref();
                Self::String(text.into())
            }
        }
    )+ };
}

from_texts!(&str &String String &Text std::borrow::Cow<'_, str>);

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::String(text)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Object(map)
    }
}

impl From<List> for Value {
    fn from(list: List) -> Self {
        Self::Array(list)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        values.into_iter().collect()
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Self>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::Array(values.into_iter().map(Into::into).collect())
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::Number(number),
            serde_json::Value::String(text) => Self::String(text.into()),
            serde_json::Value::Array(values) => values.into_iter().collect(),
            serde_json::Value::Object(entries) => Self::Object(entries.into_iter().collect()),
        }
    }
}

impl From<Value> for serde_json::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::String(text.into()),
            Value::Array(values) => values.into_iter().map(Self::from).collect(),
            Value::Object(entries) => Self::Object(
                entries.into_iter().map(|(key, value)| (key.into(), Self::from(value))).collect(),
            ),
        }
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(*other)
    }
}

impl PartialEq<String> for Value {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<Value> for str {
    fn eq(&self, other: &Value) -> bool {
        other == self
    }
}

impl PartialEq<Value> for &str {
    fn eq(&self, other: &Value) -> bool {
        other == self
    }
}

impl PartialEq<Value> for String {
    fn eq(&self, other: &Value) -> bool {
        other == self
    }
}

impl PartialEq<bool> for Value {
    fn eq(&self, other: &bool) -> bool {
        self.as_bool() == Some(*other)
    }
}

impl PartialEq<Text> for Value {
    fn eq(&self, other: &Text) -> bool {
        self.as_str() == Some(other)
    }
}
