//! Volumes through FUSE: all attributes pass, and what is written can be lost on the way as on CephFS.
