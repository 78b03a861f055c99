//! JSON trees whose copies share what they have in common.
//!
//! A cluster keeps each object in many states that differ in a line or two: the stored one, those before it for
//! watchers, the one an actor is about to write. Here a copy of a [`Value`] counts references and no more; whoever
//! changes a copy copies the levels on the way to the change, and shares the rest. Comparing two trees skips what they
//! share.
//!
//! The faces are those of `serde_json`, so that code reads alike; maps are sorted by key. Read [`Value`], then [`Map`].

mod list;
mod map;
mod pointer;
mod serde;
mod value;
mod written;

pub use list::List;
pub use map::Map;
pub use serde_json::{Error, Number};
pub use smol_str::SmolStr as Text;
pub use value::{Index, Value};
pub use written::Written;

/// Reads a tree from JSON text.
///
/// # Errors
/// What `serde_json` says of it.
pub fn from_str(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text)
}

/// Reads a tree from the bytes of JSON text.
///
/// # Errors
/// What `serde_json` says of it.
pub fn from_slice(bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes)
}

/// Makes a tree of anything that can be serialised.
///
/// # Errors
/// What `serde_json` says of it.
pub fn to_value(value: impl ::serde::Serialize) -> Result<Value, Error> {
    serde_json::to_value(value).map(Value::from)
}

/// Makes a typed object of a tree.
///
/// # Errors
/// What `serde_json` says of it.
pub fn from_value<T: ::serde::de::DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_json::from_value(value.into())
}

/// Writes a tree as it is written in source: braces and brackets as in JSON, anything else an expression.
///
/// An expression that is a [`Value`] is taken in as it stands, shared and not copied.
#[macro_export]
macro_rules! json {
    ($($tokens:tt)+) => { $crate::json_inside!($($tokens)+) };
}

/// The inside of [`json!`]: lists and maps are taken apart a token at a time, because an expression may hold commas.
#[doc(hidden)]
#[macro_export]
macro_rules! json_inside {
    // Elements of a list: those that are done, the one under way, the rest.
    (@list [$($done:expr,)*] [] ) => { vec![$($done,)*] };
    // One token by itself, the usual case, in one step: macros may not go arbitrarily deep.
    (@list [$($done:expr,)*] [] $one:tt ) => { vec![$($done,)* $crate::json_inside!($one),] };
    (@list [$($done:expr,)*] [] $one:tt , $($rest:tt)*) => {
        $crate::json_inside!(@list [$($done,)* $crate::json_inside!($one),] [] $($rest)*)
    };
    (@list [$($done:expr,)*] [$($now:tt)+] ) => { vec![$($done,)* $crate::json_inside!($($now)+),] };
    (@list [$($done:expr,)*] [$($now:tt)+] , $($rest:tt)*) => {
        $crate::json_inside!(@list [$($done,)* $crate::json_inside!($($now)+),] [] $($rest)*)
    };
    (@list [$($done:expr,)*] [$($now:tt)*] $next:tt $($rest:tt)*) => {
        $crate::json_inside!(@list [$($done,)*] [$($now)* $next] $($rest)*)
    };

    // Entries of a map: the key under way, then its value under way.
    (@map $map:ident [] ) => {};
    (@map $map:ident [] $key:literal : $one:tt ) => {
        $map.insert($key, $crate::json_inside!($one));
    };
    (@map $map:ident [] $key:literal : $one:tt , $($rest:tt)*) => {
        $map.insert($key, $crate::json_inside!($one));
        $crate::json_inside!(@map $map [] $($rest)*);
    };
    (@map $map:ident [$($key:tt)+] : $($rest:tt)+) => {
        $crate::json_inside!(@value $map [$($key)+] [] $($rest)+)
    };
    (@map $map:ident [$($key:tt)*] $next:tt $($rest:tt)*) => {
        $crate::json_inside!(@map $map [$($key)* $next] $($rest)*)
    };
    (@value $map:ident [$($key:tt)+] [$($now:tt)+] ) => {
        $map.insert(($($key)+), $crate::json_inside!($($now)+));
    };
    (@value $map:ident [$($key:tt)+] [$($now:tt)+] , $($rest:tt)*) => {
        $map.insert(($($key)+), $crate::json_inside!($($now)+));
        $crate::json_inside!(@map $map [] $($rest)*);
    };
    (@value $map:ident [$($key:tt)+] [$($now:tt)*] $next:tt $($rest:tt)*) => {
        $crate::json_inside!(@value $map [$($key)+] [$($now)* $next] $($rest)*)
    };

    (null) => { $crate::Value::Null };
    ([]) => { $crate::Value::Array($crate::List::default()) };
    ([ $($tokens:tt)+ ]) => {
        $crate::Value::Array($crate::List::from($crate::json_inside!(@list [] [] $($tokens)+)))
    };
    ({}) => { $crate::Value::Object($crate::Map::new()) };
    ({ $($tokens:tt)+ }) => {{
        let mut map = $crate::Map::new();
        $crate::json_inside!(@map map [] $($tokens)+);
        $crate::Value::Object(map)
    }};
    ($value:expr) => { $crate::Written::value(&$value) };
}
