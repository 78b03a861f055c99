//! Determinism: the same seed gives the same writes, whatever the order in which tasks are polled.
