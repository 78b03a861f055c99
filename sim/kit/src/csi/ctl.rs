//! The command line of the control socket; prints the reply as one line of JSON.
//!
//! Exits with 1 and the reason where the reply is a refusal.
use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Subcommand;
use fault::Fault;

use crate::control::{Reply, Request, server::ask};

/// What the command line says.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The control socket
    #[arg(long, default_value = super::CONTROL_SOCKET)]
    socket: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Arm a fault: its name, or its data as JSON such as {"fault":"csi-operation-lock"}
    Arm {
        /// Name or JSON
        fault: String,
    },
    /// Lift a fault by its number, or all of a name
    Lift {
        /// Number or name
        fault: String,
    },
    /// Lift all faults
    LiftAll,
    /// List the faults that were armed, with their firings
    Faults,
    /// Wait until a fault has fired
    Fired {
        /// Its number
        fault: u64,
        /// For how many seconds at most
        #[arg(long, default_value_t = 60)]
        within: u64,
    },
    /// List volumes, snapshots, operations in flight and calls
    Inventory,
    /// Lose what lives in memory only, as a restarted driver does
    Restart,
    /// Let mounts forget cached bytes
    Evict {
        /// Pattern over claim names and handles
        #[arg(default_value = "*")]
        volume: String,
    },
    /// Send a request as it is
    Ask {
        /// The request as JSON
        request: String,
    },
}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    let request = match &args.action {
        Action::Arm { fault } => Request::Arm(parsed(fault)?),
        Action::Lift { fault } => match fault.parse() {
            Ok(id) => Request::Lift(id),
            Err(_) => Request::LiftNamed(Fault::named(fault)?.name().to_owned()),
        },
        Action::LiftAll => Request::LiftAll,
        Action::Faults => Request::Faults,
        Action::Fired { fault, within } => return fired(&args, *fault, Duration::from_secs(*within)),
        Action::Inventory => Request::Inventory,
        Action::Restart => Request::Restart,
        Action::Evict { volume } => Request::Evict(volume.clone()),
        Action::Ask { request } => serde_json::from_str(request).context("not a request")?,
    };
    let reply = asked(&args, &request)?;
    println!("{}", serde_json::to_string(&reply)?);
    Ok(ExitCode::SUCCESS)
}

/// A fault by its name alone, or with all its data.
fn parsed(text: &str) -> anyhow::Result<Fault> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).context("not a fault");
    }
    Ok(Fault::named(text)?)
}

fn asked(args: &Args, request: &Request) -> anyhow::Result<Reply> {
    let reply = ask(&args.socket, request).with_context(|| {
        format!("no answer on the control socket {}: is the driver running here?", args.socket.display())
    })?;
    match reply {
        Reply::Refused(reason) => anyhow::bail!("refused: {reason}"),
        reply => Ok(reply),
    }
}

fn fired(args: &Args, id: u64, within: Duration) -> anyhow::Result<ExitCode> {
    let mut left = within;
    let step = Duration::from_millis(100);
    loop {
        if let Reply::Faults(faults) = asked(args, &Request::Faults)? {
            let fault = faults.into_iter().find(|fault| fault.id == id);
            let fault =
                fault.with_context(|| format!("no fault has the number {id}; list them with `faults`"))?;
            if fault.firings > 0 {
                println!("{}", serde_json::to_string(&fault)?);
                return Ok(ExitCode::SUCCESS);
            }
        }
        let Some(rest) = left.checked_sub(step) else {
            anyhow::bail!("fault {id} has not fired within {} s", within.as_secs());
        };
        left = rest;
        #[expect(
            clippy::disallowed_methods,
            reason = "waits on a level of another process, with a deadline"
        )]
        std::thread::sleep(step);
    }
}
