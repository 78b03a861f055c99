//! The testbed: clusters, volumes, stores, subjects and oracles; things that run.
//!
//! A [`bed::Bed`] is a running assembly: an API server double, the actors that make a cluster alive
//! (kubelet, Job controller, scheduler, provisioner, snapshotter), volumes and stores with the character
//! of real ones, and a subject. It promises that one seed gives one record, byte for byte, as long as no
//! socket is involved. It knows no Gherkin, no YAML and no report. Read [`bed`] first, then [`actor`].

pub mod access;
pub mod actor;
pub mod bed;
pub mod bucket;
pub mod clock;
pub mod cost;
pub mod inspect;
pub mod kind;
pub mod ledger;
pub mod nfs;
pub mod oracle;
pub mod quantity;
pub mod record;
pub mod seed;
pub mod storage;
pub mod subject;
mod tap;
pub mod verbs;
pub mod volume;
