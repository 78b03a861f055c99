//! `kit s3-ctl`: arms and lifts a running proxy's troubles, and shows how it stands.
//!
//! Prints the proxy's state as JSON after whatever was done, so that one call both acts and tells.
use std::{path::PathBuf, process::ExitCode};

use fault::{Aim, Fault};

use crate::s3_control::{Ask, Cap, SOCKET, Status, Trouble};

/// What to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The proxy's control socket
    #[arg(long, default_value = SOCKET)]
    control: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

/// For which requests.
#[derive(Debug, clap::Args)]
struct Aimed {
    /// Only this operation: get, put, list, head, delete
    #[arg(long, default_value = "*")]
    operation: String,
    /// Only this class: STORE/p for packs, STORE/xn for indexes
    #[arg(long, default_value = "*")]
    class: String,
    /// Only this access key
    #[arg(long, default_value = "*")]
    actor: String,
    /// Let so many through first
    #[arg(long, default_value_t = 0)]
    skip: u64,
    /// Strike so many times at most
    #[arg(long)]
    times: Option<u64>,
    /// Strike this share of them
    #[arg(long)]
    percent: Option<u8>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// How the proxy stands
    Status,
    /// Answer 503 SlowDown
    SlowDown {
        #[command(flatten)]
        aimed: Aimed,
    },
    /// Begin late, and go at a rate
    Slow {
        /// Milliseconds
        #[arg(long, default_value_t = 0)]
        latency_ms: u64,
        /// Bytes in a second
        #[arg(long)]
        bytes_per_second: Option<u64>,
        #[command(flatten)]
        aimed: Aimed,
    },
    /// Reset the connection in the middle of a body
    ResetBody {
        /// After so many bytes
        after_bytes: u64,
        #[command(flatten)]
        aimed: Aimed,
    },
    /// Be off by so many seconds
    Skewed {
        /// Seconds ahead
        #[arg(allow_negative_numbers = true)]
        by_seconds: i64,
        #[command(flatten)]
        aimed: Aimed,
    },
    /// Serve so many requests, then none
    Capped {
        /// How many
        requests: u64,
        /// What the others are answered: refuse, storage-full, cap-exceeded
        #[arg(value_parser = cap)]
        then: Cap,
        #[command(flatten)]
        aimed: Aimed,
    },
    /// Arm a fault of the store's seam, by name or as JSON
    Arm {
        /// The fault
        fault: String,
    },
    /// Lift what has this number in the proxy's state
    Lift {
        /// Its number
        id: u64,
    },
    /// Lift everything
    Reset,
}

fn cap(text: &str) -> Result<Cap, serde_json::Error> {
    serde_json::from_value(text.into())
}

/// Asks and prints.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    let status: Status = crate::socket::ask(&args.control, &ask(args.verb)?)?;
    println!("{}", serde_json::to_string_pretty(&status)?);
    Ok(ExitCode::SUCCESS)
}

fn trouble(what: Trouble, aimed: Aimed) -> Ask {
    let Aimed { operation, class, actor, skip, times, percent } = aimed;
    Ask::Trouble { what, operation, aim: Aim { actor, class, skip, times, percent } }
}

fn ask(verb: Verb) -> anyhow::Result<Ask> {
    Ok(match verb {
        Verb::Status => Ask::Status,
        Verb::SlowDown { aimed } => trouble(Trouble::SlowDown, aimed),
        Verb::Slow { latency_ms, bytes_per_second, aimed } => {
            trouble(Trouble::Slow { latency_ms, bytes_per_second }, aimed)
        }
        Verb::ResetBody { after_bytes, aimed } => trouble(Trouble::Reset { after_bytes }, aimed),
        Verb::Skewed { by_seconds, aimed } => trouble(Trouble::Skewed { by_seconds }, aimed),
        Verb::Capped { requests, then, aimed } => trouble(Trouble::Capped { requests, then }, aimed),
        Verb::Arm { fault } if fault.starts_with('{') => Ask::Arm(serde_json::from_str(&fault)?),
        Verb::Arm { fault } => Ask::Arm(Fault::named(&fault)?),
        Verb::Lift { id } => Ask::Lift(id),
        Verb::Reset => Ask::Reset,
    })
}
