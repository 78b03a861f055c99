//! What is said to a running S3 proxy: troubles armed, lifted and counted, as one JSON line asked and one answered.
//!
//! Faults of the room `fault` at the seam `store` mean here what they mean on the embedded bed; a [`Trouble`] is
//! what only a real connection can suffer. `kit s3-ctl` speaks this inside the proxy's container; a bed that
//! runs it there needs only these types. It holds no behaviour.
use std::collections::BTreeMap;

use fault::{Aim, Fault};
use serde::{Deserialize, Serialize};

pub use crate::nfs_control::Armed;

/// Where a proxy listens for control inside its container.
pub const SOCKET: &str = "/run/kit/s3.sock";

/// What a connection to a store can suffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "trouble", deny_unknown_fields)]
pub enum Trouble {
    /// Requests answer 503 `SlowDown`, as a store that throttles does.
    SlowDown,
    /// Each request begins late, and its bytes come at a rate.
    #[serde(rename_all = "kebab-case")]
    Slow {
        /// How much later, in milliseconds.
        #[serde(default)]
        latency_ms: u64,
        /// Bytes in a second, each way; without it, as fast as they come.
        #[serde(default)]
        bytes_per_second: Option<u64>,
    },
    /// The connection is reset after so many bytes of a request's or an answer's body.
    #[serde(rename_all = "kebab-case")]
    Reset {
        /// How many bytes pass first.
        after_bytes: u64,
    },
    /// The store's clock is off: its answers are dated so, and beyond fifteen minutes signed requests are refused
    /// with `RequestTimeTooSkewed`.
    #[serde(rename_all = "kebab-case")]
    Skewed {
        /// How far the store's clock is ahead, in seconds.
        by_seconds: i64,
    },
    /// So many requests are served, then none: a cap on transactions, or a full disk.
    #[serde(rename_all = "kebab-case")]
    Capped {
        /// How many are served.
        requests: u64,
        /// What the others are answered.
        then: Cap,
    },
}

impl Trouble {
    /// Its name in states and counts.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SlowDown => "slow-down",
            Self::Slow { .. } => "slow",
            Self::Reset { .. } => "reset",
            Self::Skewed { .. } => "skewed",
            Self::Capped { .. } => "capped",
        }
    }
}

/// What a store at its cap answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cap {
    /// Nothing: the connection is closed.
    Refuse,
    /// 507 `XMinioStorageFull` to what writes; the rest is served.
    StorageFull,
    /// 403 `cap_exceeded`, as Backblaze does, to everything.
    CapExceeded,
}

/// What can be asked of a proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// How it stands.
    Status,
    /// Arm a fault of the store's seam that strikes on the way; those at rest are for who holds the bytes.
    Arm(Fault),
    /// Make trouble, for the requests aimed at: actor is the access key, class `<store>/<blob class>`.
    Trouble {
        /// What.
        what: Trouble,
        /// Pattern over the operations struck.
        #[serde(default = "any")]
        operation: String,
        /// For whom, and how often.
        #[serde(default)]
        aim: Aim,
    },
    /// Lift the fault or trouble of this number.
    Lift(u64),
    /// Lift everything.
    Reset,
}

fn any() -> String {
    "*".to_owned()
}

/// How a proxy stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Where requests go.
    pub upstream: String,
    /// Answers by operation (`get`, `put`, `list`, `head`, `delete`, `other`) and status; status 0 where the
    /// connection was cut instead.
    pub answers: BTreeMap<String, BTreeMap<u16, u64>>,
    /// Faults and troubles, in order of arming.
    pub armed: Vec<Armed>,
}
