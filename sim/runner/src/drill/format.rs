//! Writes certificates: for a terminal, as JSON, as Markdown for a pull request.
//!
//! Promises that all three say the same; the shorter ones leave out evidence, never a verdict. Pure.

use std::fmt::Write as _;

use gitops::model::{Model, Severity};
use serde::Serialize;

use super::args::Format;
use super::certificate::{Certificate, Finding, Verdict, size, span};

/// Everything a drill has to say.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// Virtual days that passed before the fire.
    pub days: u32,
    /// The seed.
    pub seed: u64,
    /// Certificates, by app.
    pub certificates: Vec<Certificate>,
    /// Findings that belong to no single app.
    pub findings: Vec<Finding>,
    /// What was recognised and not read, in sentences.
    pub not_read: Vec<String>,
    /// What rendering left out.
    pub skipped: Vec<String>,
    /// What was assumed for the whole input.
    pub assumed: Vec<String>,
    /// Files, documents and Kustomizations that were read.
    pub read: String,
}

impl Statement {
    /// Puts the parts together.
    pub fn new(
        model: &Model,
        certificates: Vec<Certificate>,
        played: Vec<String>,
        days: u32,
        seed: u64,
    ) -> Self {
        let mut movers = std::collections::BTreeMap::<&str, Vec<String>>::new();
        for unread in &model.unread {
            movers.entry(&unread.mover).or_default().push(format!("{}/{}", unread.namespace, unread.title));
        }
        let not_read = movers
            .into_iter()
            .map(|(mover, titles)| {
                format!(
                    "{} objects of {mover} are recognised and not read yet, such as {}",
                    titles.len(),
                    titles[0]
                )
            })
            .collect();
        let mut assumed = model.assumed.clone();
        assumed.extend(played);
        Self {
            days,
            seed,
            certificates,
            findings: model.problems.iter().map(Finding::from).collect(),
            not_read,
            skipped: model
                .skipped
                .iter()
                .map(|skipped| format!("{} ({}): {}", skipped.what, skipped.origin, skipped.why))
                .collect(),
            assumed,
            read: format!(
                "{} files, {} documents, {} Flux Kustomizations, {} apps, {} Kopia sources",
                model.counts.files,
                model.counts.documents,
                model.counts.kustomizations,
                model.apps.len(),
                model.counts.kopia_sources
            ),
        }
    }

    /// How many certificates have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.certificates.iter().filter(|certificate| certificate.verdict == verdict).count()
    }

    /// The line that sums up.
    pub fn summary(&self) -> String {
        let parts: Vec<String> = [
            Verdict::Protected,
            Verdict::Accepted,
            Verdict::NotProtected,
            Verdict::Unknown,
            Verdict::NotRead,
        ]
        .into_iter()
        .map(|verdict| (verdict, self.count(verdict)))
        .filter(|(_, count)| *count > 0)
        .map(|(verdict, count)| format!("{count} {}", verdict.words()))
        .collect();
        if parts.is_empty() {
            "no app was found".to_owned()
        } else {
            format!("{} apps: {}", self.certificates.len(), parts.join(", "))
        }
    }

    /// The text in a format.
    pub fn text(&self, format: Format) -> String {
        match format {
            Format::Terminal => self.terminal(),
            Format::Json => serde_json::to_string_pretty(self).unwrap_or_default() + "\n",
            Format::Markdown => self.markdown(),
        }
    }

    fn terminal(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "read: {}", self.read);
        for certificate in &self.certificates {
            let style = match certificate.verdict {
                Verdict::Protected => console::Style::new().green().bold(),
                Verdict::Accepted => console::Style::new().yellow().bold(),
                Verdict::NotRead | Verdict::Unknown => console::Style::new().yellow(),
                Verdict::NotProtected => console::Style::new().red().bold(),
            };
            let _ = writeln!(
                out,
                "\n{}  {}",
                style.apply_to(certificate.verdict.words()),
                console::Style::new().bold().apply_to(&certificate.app)
            );
            for reason in &certificate.because {
                let _ = writeln!(out, "  {reason}");
            }
            for claim in &certificate.claims {
                let _ = writeln!(out, "  claim {}: {}", claim.claim, claim.result);
                let mut facts = vec![format!("worst RPO {}", span(claim.rpo_worst_seconds))];
                if let Some(rto) = claim.rto_seconds {
                    facts.push(format!("RTO {}", span(rto)));
                }
                if claim.files > 0 {
                    facts.push(format!("{} files, {} compared", claim.files, size(claim.bytes)));
                }
                if let Some(moment) = &claim.moment {
                    facts.push(format!("with the state of {moment}"));
                }
                let _ = writeln!(out, "    {}", facts.join(", "));
                for difference in claim.differences.iter().take(5) {
                    let _ = writeln!(out, "    differs: {difference}");
                }
                for loss in &claim.losses {
                    let _ = writeln!(out, "    declared: {loss}");
                }
                for said in &claim.evidence {
                    let _ = writeln!(out, "    the cluster said: {said}");
                }
            }
            if !certificate.claims.is_empty() {
                let _ = writeln!(
                    out,
                    "  syncs done {}, mover runs failed {}",
                    certificate.syncs, certificate.failures
                );
            }
            for finding in certificate.findings.iter().filter(|finding| finding.severity > Severity::Note) {
                let _ = writeln!(
                    out,
                    "  {:?}: {}: {} [{}]\n    cure: {}",
                    finding.severity, finding.at, finding.message, finding.id, finding.cure
                );
            }
            for assumed in &certificate.assumed {
                let _ = writeln!(out, "  assumed: {assumed}");
            }
            let _ = writeln!(out, "  again: {}", certificate.replay);
        }
        let list = |out: &mut String, title: &str, items: &[String]| {
            if !items.is_empty() {
                let _ = writeln!(out, "\n{title}:");
                for item in items {
                    let _ = writeln!(out, "  {item}");
                }
            }
        };
        if !self.findings.is_empty() {
            let findings: Vec<String> = self
                .findings
                .iter()
                .map(|finding| {
                    format!(
                        "{:?}: {}{}{} [{}]: {}",
                        finding.severity,
                        finding.at,
                        if finding.at.is_empty() { "" } else { ": " },
                        finding.message,
                        finding.id,
                        finding.cure
                    )
                })
                .collect();
            list(&mut out, "findings on the whole", &findings);
        }
        list(&mut out, "not read", &self.not_read);
        list(&mut out, "left out of the rendering", &self.skipped);
        list(&mut out, "assumed", &self.assumed);
        let _ = writeln!(out, "\n{}", self.summary());
        out
    }

    fn markdown(&self) -> String {
        let mut out = format!("### Fire drill: {}\n\n", self.summary());
        let _ = writeln!(
            out,
            "{} virtual days, then every claim and namespace destroyed and restored the way the manifests declare. Seed {}.\n",
            self.days, self.seed
        );
        let _ =
            writeln!(out, "| app | verdict | why | worst RPO | RTO | compared |\n|---|---|---|---|---|---|");
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        for certificate in &self.certificates {
            let mark = match certificate.verdict {
                Verdict::Protected => "✅",
                Verdict::Accepted => "🟡",
                Verdict::NotRead | Verdict::Unknown => "❔",
                Verdict::NotProtected => "❌",
            };
            let rpo = certificate
                .claims
                .iter()
                .map(|claim| claim.rpo_worst_seconds)
                .max()
                .map(span)
                .unwrap_or_default();
            let rto = certificate
                .claims
                .iter()
                .filter_map(|claim| claim.rto_seconds)
                .max()
                .map(span)
                .unwrap_or_default();
            let (files, bytes) = certificate
                .claims
                .iter()
                .fold((0, 0), |(files, bytes), claim| (files + claim.files, bytes + claim.bytes));
            let _ = writeln!(
                out,
                "| `{}` | {mark} {} | {} | {rpo} | {rto} | {files} files, {} |",
                cell(&certificate.app),
                certificate.verdict.words(),
                cell(certificate.because.first().map_or("", String::as_str)),
                size(bytes)
            );
        }
        for certificate in self.certificates.iter().filter(|certificate| {
            certificate.verdict != Verdict::Protected
                || certificate.findings.iter().any(|finding| finding.severity > Severity::Note)
        }) {
            let _ = writeln!(
                out,
                "\n<details><summary><code>{}</code>: {}</summary>\n",
                certificate.app,
                certificate.verdict.words()
            );
            for reason in &certificate.because {
                let _ = writeln!(out, "- {reason}");
            }
            for claim in &certificate.claims {
                for difference in claim.differences.iter().take(5) {
                    let _ = writeln!(out, "- differs: `{}`", difference.replace('`', "'"));
                }
                for said in &claim.evidence {
                    let _ = writeln!(out, "- the cluster said: `{}`", said.replace('`', "'"));
                }
            }
            for finding in certificate.findings.iter().filter(|finding| finding.severity > Severity::Note) {
                let _ = writeln!(
                    out,
                    "- `{}` {} **{}**: {} (cure: {})",
                    finding.id,
                    finding.at,
                    format!("{:?}", finding.severity).to_lowercase(),
                    finding.message,
                    finding.cure
                );
            }
            let _ = writeln!(out, "- again: `{}`\n\n</details>", certificate.replay);
        }
        let section = |out: &mut String, title: &str, items: &[String]| {
            if !items.is_empty() {
                let _ = writeln!(out, "\n<details><summary>{title} ({})</summary>\n", items.len());
                for item in items {
                    let _ = writeln!(out, "- {item}");
                }
                let _ = writeln!(out, "\n</details>");
            }
        };
        let findings: Vec<String> = self
            .findings
            .iter()
            .map(|finding| format!("`{}` {} {}: {}", finding.id, finding.at, finding.message, finding.cure))
            .collect();
        section(&mut out, "Findings on the whole", &findings);
        section(&mut out, "Not read", &self.not_read);
        section(&mut out, "Left out of the rendering", &self.skipped);
        section(&mut out, "Assumed", &self.assumed);
        out
    }
}
