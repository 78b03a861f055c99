//! Step definitions and house rules; everything is under `tests/`.
