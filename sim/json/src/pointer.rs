//! JSON pointers (RFC 6901).

use crate::Value;

impl Value {
    /// What a pointer such as `/metadata/name` points at; the empty one points at the whole.
    pub fn pointer(&self, pointer: &str) -> Option<&Self> {
        tokens(pointer)?.try_fold(self, |value, token| match value {
            Self::Object(map) => map.get(&*unescaped(token)),
            Self::Array(list) => list.get(place(token)?),
            _ => None,
        })
    }

    /// What a pointer points at, to be changed.
    pub fn pointer_mut(&mut self, pointer: &str) -> Option<&mut Self> {
        tokens(pointer)?.try_fold(self, |value, token| match value {
            Self::Object(map) => map.get_mut(&unescaped(token)),
            Self::Array(list) => list.get_mut(place(token)?),
            _ => None,
        })
    }
}

fn tokens(pointer: &str) -> Option<impl Iterator<Item = &str>> {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return None;
    }
    Some(pointer.split('/').skip(1))
}

fn unescaped(token: &str) -> std::borrow::Cow<'_, str> {
    if token.contains('~') { token.replace("~1", "/").replace("~0", "~").into() } else { token.into() }
}

fn place(token: &str) -> Option<usize> {
    // Neither signs nor leading zeros.
    if token.starts_with('+') || (token.starts_with('0') && token.len() > 1) {
        None
    } else {
        token.parse().ok()
    }
}
