//! What the binary adds to the library: flags, a client, HTTP.
pub mod arguments;
pub mod http;
