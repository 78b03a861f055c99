//! The command line of `firedrill`: parsing, and one file per subcommand.
//!
//! Exit codes are promised to users: 0 all passed; of what was played, the worst verdict decides (10 only
//! unsupported, 11 stalled, 12 crashed, 13 violated, 14 harness broken); 2 the command line was wrong, 3
//! the input could not be read, 4 nothing matched. Real clocks are read here and nowhere else.

mod bed;
pub mod compare;
mod doctor;
mod images;
mod incident;
mod phrases;
mod play;
mod run;
mod serve;
mod sweep;

use std::path::Path;

use clap::{Parser, Subcommand};

/// The input could not be read, or nothing could be started.
pub const EXIT_INPUT: u8 = 3;
/// Nothing matched: no scenario, no incident.
pub const EXIT_NOTHING: u8 = 4;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    version,
    about = "Do your Kubernetes backups restore? Plays backups, disasters and restores on a simulated cluster.",
    after_help = "Exit codes: 0 all passed; 10 only unsupported, 11 stalled, 12 crashed, 13 violated, 14 harness broken\n\
                  (the worst counts); 2 wrong command line, 3 input cannot be read, 4 nothing matched."
)]
pub struct Firedrill {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Plays features and scenarios; writes a record and a report.
    Run(run::Args),
    /// Compares what the same scenarios came to on different beds, from the outcomes of two runs or more.
    Compare(compare::Args),
    /// Holds a fire drill on your own manifests: fill, back up, destroy, restore, compare.
    Drill(crate::drill::Args),
    /// Lists the incidents that can be reproduced.
    Incidents(incident::ListArgs),
    /// Plays one incident, told minute by minute from its record; or prints its runbook.
    Reproduce(incident::ReproduceArgs),
    /// Keeps an embedded cluster running on loopback, in real time, for curl, kubectl and controllers.
    Serve(serve::Args),
    /// Builds, lists or removes the container images of the kind tier; no registry is needed.
    Images(images::Args),
    /// Removes what runs on real clusters left at the Docker Engine.
    Sweep(sweep::Args),
    /// Tries what this machine can do, and says what to install for the rest.
    Doctor(doctor::Args),
    /// Lists every phrase that a feature can use.
    Phrases(phrases::Args),
    /// Plays the one scenario on standard input (what `run` starts for each scenario).
    #[command(hide = true)]
    Play,
}

impl Firedrill {
    /// Does what the command line says and returns the exit code.
    ///
    /// # Errors
    /// What kept it from being done at all.
    pub fn run(self) -> anyhow::Result<u8> {
        match self.what {
            What::Run(args) => run::command(&args),
            What::Compare(args) => compare::command(&args),
            What::Drill(args) => crate::drill::command(args),
            What::Incidents(args) => incident::list(&args),
            What::Reproduce(args) => incident::reproduce(&args),
            What::Serve(args) => serve::command(&args),
            What::Images(args) => images::command(&args),
            What::Sweep(args) => sweep::command(&args),
            What::Doctor(args) => doctor::command(&args),
            What::Phrases(args) => phrases::command(&args),
            What::Play => play::command(),
        }
    }
}

/// Checks that reports can go where they are told to, before anything is played for them.
///
/// # Errors
/// A file is there already.
pub fn directory(out: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        !out.exists() || out.is_dir(),
        "--out names a directory; {} is a file: name another place, or remove it",
        out.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Firedrill::command().debug_assert();
    }
}
