//! Placeholder until the table of checks is in.
