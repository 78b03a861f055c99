//! What a drill certifies, app by app: protected or not, and why.
//!
//! Promises that "protected" means every claim with data came back equal, declared losses excepted; that
//! every other verdict has a reason with its evidence; and that an acceptance is shown, never hidden.
//! Never reads the clock: today comes in. Pure.

use std::time::Duration;

use gitops::model::{App, Model, Problem, Severity};
use jiff::civil::Date;
use serde::Serialize;

use super::args::Acceptance;
use super::play::{AppOutcome, ClaimOutcome};

/// How an app stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every claim came back equal.
    Protected,
    /// Not protected, and somebody accepted that by name.
    Accepted,
    /// Kept by a mover or operator that is not read yet.
    NotRead,
    /// A variable is unset: the app cannot be known.
    Unknown,
    /// Data would be lost.
    NotProtected,
}

impl Verdict {
    /// How people read it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Accepted => "accepted",
            Self::NotRead => "not read yet",
            Self::Unknown => "unknown",
            Self::NotProtected => "NOT PROTECTED",
        }
    }
}

/// One claim's part of a certificate.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimCertificate {
    /// Namespace and name.
    pub claim: String,
    /// Whether it came back equal.
    pub came_back: bool,
    /// Why not, or in what state.
    pub result: String,
    /// The moment that had to come back.
    pub moment: Option<String>,
    /// Files whose bytes were compared.
    pub files: u64,
    /// Bytes compared.
    pub bytes: u64,
    /// What differs.
    pub differences: Vec<String>,
    /// What the format cannot carry and was lost.
    pub losses: Vec<String>,
    /// Seconds from applying the manifests to the running app.
    pub rto_seconds: Option<u64>,
    /// Seconds of the longest time without a fresh copy.
    pub rpo_worst_seconds: u64,
    /// What the cluster said.
    pub evidence: Vec<String>,
}

/// The certificate of one app.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// `namespace/name`, with the cluster in front if there are several.
    pub app: String,
    /// Where it is declared.
    pub declared: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one sentence each.
    pub because: Vec<String>,
    /// Its claims.
    pub claims: Vec<ClaimCertificate>,
    /// Completed syncs before the fire.
    pub syncs: usize,
    /// Mover runs that failed before the fire.
    pub failures: u32,
    /// Findings of the checks.
    pub findings: Vec<Finding>,
    /// What was assumed for it.
    pub assumed: Vec<String>,
    /// The one line that plays it again.
    pub replay: String,
}

/// A finding in plain words.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The check.
    pub id: String,
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub at: String,
    /// What.
    pub message: String,
    /// What to do.
    pub cure: String,
}

impl From<&Problem> for Finding {
    fn from(problem: &Problem) -> Self {
        Self {
            id: problem.id.clone(),
            severity: problem.severity,
            at: problem.origin.as_ref().map(ToString::to_string).unwrap_or_default(),
            message: problem.message.clone(),
            cure: problem.cure.clone(),
        }
    }
}

/// Findings that fail an app by themselves.
const FAILING: [&str; 2] = ["claim-without-backup", "no-way-back"];

/// Issues the certificate of one app; `outcome` is missing for apps that were not played.
pub fn issue(
    model: &Model,
    app: &App,
    outcome: Option<&AppOutcome>,
    accepted: &[Acceptance],
    today: Date,
    replay: String,
) -> Certificate {
    let findings: Vec<Finding> = app.problems.iter().map(Finding::from).collect();
    let claims: Vec<ClaimCertificate> = outcome
        .map(|outcome| outcome.claims.iter().map(|claim| certify(app, claim)).collect())
        .unwrap_or_default();
    let mut because: Vec<String> = Vec::new();
    let mut verdict = Verdict::Protected;
    let unread: Vec<&str> = model
        .unread
        .iter()
        .filter(|unread| {
            unread.claim.as_ref().is_some_and(|name| {
                app.claims
                    .iter()
                    .any(|claim| claim.object.name == *name && claim.object.namespace == unread.namespace)
            })
        })
        .map(|unread| unread.mover.as_str())
        .collect();
    if !app.unknown.is_empty() {
        verdict = Verdict::Unknown;
        let mut names: Vec<&str> = app.unknown.iter().map(|unknown| unknown.variable.as_str()).collect();
        names.dedup();
        because.push(format!("unset: {} ({})", names.join(", "), app.unknown[0].hint));
    } else if app.sources.is_empty() && !unread.is_empty() {
        verdict = Verdict::NotRead;
        because.push(format!("it is kept by {}, which this drill does not read yet", unread[0]));
    } else {
        for problem in app
            .problems
            .iter()
            .filter(|problem| FAILING.contains(&problem.id.as_str()) && problem.severity >= Severity::Error)
        {
            verdict = Verdict::NotProtected;
            because.push(problem.message.clone());
        }
        for claim in claims.iter().filter(|claim| !claim.came_back) {
            verdict = Verdict::NotProtected;
            because.push(format!("{}: {}", claim.claim, claim.result));
        }
        if claims.is_empty() && outcome.is_none() {
            verdict = Verdict::NotProtected;
            because.push("it was not drilled".to_owned());
        }
        if verdict == Verdict::NotProtected {
            // What the checks say explains what the drill saw.
            because.extend(
                app.problems
                    .iter()
                    .filter(|problem| {
                        problem.severity >= Severity::Error && !FAILING.contains(&problem.id.as_str())
                    })
                    .map(|problem| problem.message.clone()),
            );
        }
    }
    if verdict == Verdict::Protected {
        because.push("every file came back equal to the last snapshot".to_owned());
    } else if let Some(acceptance) = accepted.iter().find(|acceptance| app.key.is_meant_by(&acceptance.app)) {
        match acceptance.until {
            Some(until) if until < today => {
                because.push(format!("the acceptance ran out on {until}: {}", acceptance.reason));
            }
            until => {
                verdict = Verdict::Accepted;
                because.insert(
                    0,
                    format!(
                        "accepted{}: {}",
                        until.map(|until| format!(" until {until}")).unwrap_or_default(),
                        acceptance.reason
                    ),
                );
            }
        }
    }
    Certificate {
        app: app.key.to_string(),
        declared: app.origin.to_string(),
        verdict,
        because,
        claims,
        syncs: outcome.map_or(0, |outcome| outcome.syncs),
        failures: outcome.map_or(0, |outcome| outcome.failures),
        findings,
        assumed: app.assumed.clone(),
        replay,
    }
}

fn certify(app: &App, outcome: &ClaimOutcome) -> ClaimCertificate {
    let has_backup = app.sources.iter().any(|source| outcome.claim.ends_with(&format!("/{}", source.claim)));
    let report = outcome.report.as_ref();
    let equal = report.is_some_and(testbed::oracle::restore::Report::is_equal);
    let result = if let Some(trouble) = &outcome.never_filled {
        trouble.clone()
    } else if let Some(said) = &outcome.stalled {
        format!("it does not come back: {said}")
    } else if !has_backup {
        "it comes back without its data: nothing backs it up".to_owned()
    } else if outcome.is_empty {
        "it comes back empty".to_owned()
    } else if let Some(report) = report {
        if equal {
            "it comes back equal".to_owned()
        } else if let Some(other) = outcome.equals {
            format!("it comes back as it was at {other}, not as in the last snapshot")
        } else {
            let counts: Vec<String> =
                report.counts.iter().map(|(what, count)| format!("{count} × {what}")).collect();
            format!("it comes back different: {}", counts.join(", "))
        }
    } else {
        "no backup was ever completed".to_owned()
    };
    let mut losses: Vec<String> = report
        .map(|report| {
            report
                .losses
                .iter()
                .map(|(loss, tally)| {
                    format!(
                        "{loss} ({}, such as {})",
                        tally.count,
                        tally.examples.first().cloned().unwrap_or_default()
                    )
                })
                .collect()
        })
        .unwrap_or_default();
    if outcome.group_bits > 0 {
        losses.push(format!("kubelet's fsGroup gave {} files the group and its bits", outcome.group_bits));
    }
    ClaimCertificate {
        claim: outcome.claim.clone(),
        came_back: equal && outcome.stalled.is_none() && outcome.never_filled.is_none() && !outcome.is_empty,
        result,
        moment: outcome.moment.map(|moment| moment.to_string()),
        files: report.map_or(0, |report| report.files),
        bytes: report.map_or(0, |report| report.bytes),
        differences: report
            .map(|report| report.differences.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        losses,
        rto_seconds: outcome.rto.map(|rto| rto.as_secs()),
        rpo_worst_seconds: outcome.rpo_worst.as_secs(),
        evidence: if equal {
            Vec::new()
        } else {
            outcome.evidence.iter().rev().take(5).rev().cloned().collect()
        },
    }
}

/// A duration as people say it.
pub fn span(seconds: u64) -> String {
    let duration = Duration::from_secs(seconds).as_secs();
    let (days, hours, minutes, seconds) =
        (duration / 86_400, duration / 3600 % 24, duration / 60 % 60, duration % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Bytes as people say them.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..=1023 => format!("{bytes} B"),
        1024..=1_048_575 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_readable() {
        for (seconds, words) in
            [(5, "5 s"), (65, "1 min 5 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(span(seconds), words);
        }
        for (bytes, words) in [(5, "5 B"), (2048, "2.0 KiB"), (1_572_864, "1.5 MiB")] {
            assert_eq!(size(bytes), words);
        }
    }
}
