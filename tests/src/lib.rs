//! What tests of several rooms share; the tests themselves are under `tests/`.

pub mod binary;
