//! Custom resources of VolSync and of the CSI snapshot group, as Rust types.
