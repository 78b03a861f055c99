//! The mover as a process: real doors around [`mover::run`].
//!
//! Reads its request from arguments and environment, runs it, writes the outcome as termination message
//! and ends with its exit code. SIGTERM and SIGINT are turned into the run's stop signal; under the safe
//! profile the process then ends with 143. Repositories in directories and in S3 buckets; every other place is
//! refused with a clear error, never with a success.
mod process;

use std::{collections::BTreeMap, process::ExitCode};

use contract::{Failure, Outcome, Profile, Request};

use process::{doors, termination};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let variables: BTreeMap<String, String> = std::env::vars().collect();
    let outcome = match Request::from_env(&arguments, &variables) {
        Ok(request) => perform(request),
        Err(error) => refuse(&variables, &error),
    };
    if let Err(error) = termination::write(&variables, &outcome) {
        println!("WARN: the termination message could not be written: {error}");
    }
    ExitCode::from(u8::try_from(outcome.exit_code).unwrap_or(1))
}

fn perform(request: Request) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let operation = request.operation();
    let profile = request.profile;
    let internal = |text: String| {
        Outcome::failure(Some(operation), profile, Failure::new(contract::ExitCode::Internal, text))
    };
    match runtime {
        Err(error) => internal(format!("the runtime could not be started: {error}")),
        Ok(runtime) => {
            let ended = runtime.block_on(doors::run(request));
            // A thread that hangs in a system call (a hard NFS mount) must not keep the process.
            runtime.shutdown_background();
            ended.unwrap_or_else(|error| internal(error.to_string()))
        }
    }
}

/// A request that cannot be read: the message stands in the log and in the outcome.
fn refuse(variables: &BTreeMap<String, String>, error: &contract::request::Error) -> Outcome {
    let profile = variables
        .get(contract::environment::safe::MOVER_PROFILE)
        .and_then(|word| word.parse().ok())
        .unwrap_or(Profile::Safe);
    let mut message = error.to_string();
    if let contract::request::Error::Location(source) = error {
        message = format!("{message}: {source}");
    }
    let failure = Failure::new(contract::ExitCode::Misconfigured, message);
    let outcome = Outcome::failure(None, profile, failure);
    println!("Starting kopia mover container\n\nTesting mandatory env variables");
    println!("ERROR: {}", outcome.failed().map_or("", |failure| failure.message.as_str()));
    println!("INFO: EXIT_CODE: {}\nINFO: === Done ===", outcome.exit_code);
    outcome
}
