//! The command line of `firedrill drill`.
//!
//! Promises that every flag is checked when it is parsed: what is invalid never reaches the drill.
//! Never reads the clock: whether an acceptance has run out is judged against the time passed in.

use std::path::PathBuf;
use std::str::FromStr;

/// How the certificates are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people at a terminal.
    #[default]
    Terminal,
    /// For programs: one object with all certificates.
    Json,
    /// For a comment under a pull request.
    Markdown,
}

/// One risk that somebody took by name: `APP=REASON[,until=DATE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// `name`, `namespace/name` or `cluster/namespace/name`.
    pub app: String,
    /// Why it is acceptable, in the words of the one who accepts.
    pub reason: String,
    /// The last day on which it holds; none means for ever.
    pub until: Option<jiff::civil::Date>,
}

impl FromStr for Acceptance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (app, rest) = text.split_once('=').ok_or("write APP=REASON, or APP=REASON,until=2026-12-31")?;
        if app.trim().is_empty() {
            return Err("the app's name is empty: write APP=REASON".into());
        }
        let (reason, until) = match rest.rsplit_once(',') {
            Some((reason, tail)) => {
                let date = tail.trim().trim_start_matches("until=").trim_start_matches("until ");
                match date.parse::<jiff::civil::Date>() {
                    Ok(date) => (reason, Some(date)),
                    Err(_) if tail.trim().starts_with("until") => {
                        return Err(format!("{tail:?} is not a date: write until=2026-12-31"));
                    }
                    Err(_) => (rest, None),
                }
            }
            None => (rest, None),
        };
        if reason.trim().is_empty() {
            return Err(format!("say why {app} is accepted: write {app}=REASON"));
        }
        Ok(Self { app: app.trim().into(), reason: reason.trim().into(), until })
    }
}

/// Arguments of `firedrill drill`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Files or directories with manifests; `-` reads a renderer's output on standard input.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Virtual days that pass before the fire.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=3660))]
    pub days: u32,
    /// Drills only these apps (`name` or `namespace/name`); may be given several times.
    #[arg(long, value_name = "APP")]
    pub app: Vec<String>,
    /// Restores the state of this moment instead of the newest (RFC 3339, or a duration before the fire such as `36h`).
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<String>,
    /// Sets a Flux substitution variable; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// Says what a storage class is: rbd, cephfs, hostpath, zfs or nfs; may be given several times.
    #[arg(long = "class", value_name = "NAME=CHARACTER", value_parser = pair)]
    pub class: Vec<(String, String)>,
    /// Accepts that an app is not protected: `APP=REASON[,until=DATE]`; may be given several times.
    #[arg(long, value_name = "APP=REASON")]
    pub accept: Vec<Acceptance>,
    /// How the certificates are written to standard output.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// The seed of all chance in the drill.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where to put the certificates and the record; by default below `target/firedrill`.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Only reads and checks the input: prints what was found, and drills nothing.
    #[arg(long)]
    pub read_only: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?}: write NAME=VALUE"))?;
    if name.is_empty() {
        return Err(format!("{text:?}: the name before '=' is empty"));
    }
    Ok((name.into(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acceptance_names_app_reason_and_end() {
        let parsed: Acceptance = "media/plex=cache only, can be rebuilt,until=2026-12-31".parse().unwrap();
        assert_eq!(parsed.app, "media/plex");
        assert_eq!(parsed.reason, "cache only, can be rebuilt");
        assert_eq!(parsed.until, Some(jiff::civil::date(2026, 12, 31)));
        let open: Acceptance = "plex=cache only, can be rebuilt".parse().unwrap();
        assert_eq!((open.reason.as_str(), open.until), ("cache only, can be rebuilt", None));
        for bad in ["plex", "plex=", "=why", "plex=why,until=tomorrow"] {
            assert!(bad.parse::<Acceptance>().is_err(), "{bad} must be refused");
        }
    }
}
