//! What [`json!`](crate::json) takes as an expression.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{List, Map, Number, Text, Value};

/// What can stand in a tree that is written in source. A tree is taken in as it stands, shared.
pub trait Written {
    /// The tree of it.
    fn value(&self) -> Value;
}

macro_rules! copied {
    ($($kind:ty)+) => { $(
        impl Written for $kind {
            fn value(&self) -> Value {
                self.clone().into()
            }
        }
    )+ };
}

copied!(bool i8 i16 i32 i64 isize u8 u16 u32 u64 usize f64 Number Text Map List serde_json::Value);

impl Written for Value {
    fn value(&self) -> Value {
        self.clone()
    }
}

impl Written for str {
    fn value(&self) -> Value {
        self.into()
    }
}

impl Written for String {
    fn value(&self) -> Value {
        self.into()
    }
}

impl Written for Cow<'_, str> {
    fn value(&self) -> Value {
        (&**self).into()
    }
}

macro_rules! pointers {
    ($($pointer:ty)+) => { $(
        impl<T: Written + ?Sized> Written for $pointer {
            fn value(&self) -> Value {
                (**self).value()
            }
        }
    )+ };
}

pointers!(&T &mut T Box<T> Arc<T>);

impl<T: Written> Written for Option<T> {
    fn value(&self) -> Value {
        self.as_ref().map_or(Value::Null, Written::value)
    }
}

impl<T: Written> Written for [T] {
    fn value(&self) -> Value {
        self.iter().map(Written::value).collect()
    }
}

impl<T: Written, const N: usize> Written for [T; N] {
    fn value(&self) -> Value {
        self.as_slice().value()
    }
}

impl<T: Written> Written for Vec<T> {
    fn value(&self) -> Value {
        self.as_slice().value()
    }
}

impl<T: Written> Written for BTreeSet<T> {
    fn value(&self) -> Value {
        self.iter().map(Written::value).collect()
    }
}

impl<K: AsRef<str>, V: Written> Written for BTreeMap<K, V> {
    fn value(&self) -> Value {
        Value::Object(self.iter().map(|(key, value)| (key.as_ref(), value.value())).collect())
    }
}
