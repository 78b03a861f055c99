//! What to apply to a cluster so that the drivers run there.
