//! Data: what snapshots and claims hold, compared with what the bed wrote.
//!
//! A snapshot is looked at the way a user would: restored through the subject by a replication
//! destination of its own into a fresh claim, read back through a fresh mount, and cleared away.

use json::{Value, json};
use scenario::{
    Name, ObjectRef,
    expect::{Count, Moment, Which},
    step::Claim,
};
use testbed::{
    inspect,
    ledger::Entry,
    oracle::restore::{Carries, Report, compare},
};

use super::{Failure, Stage, Told, replication::explain, stage::PATIENCE};

impl Stage {
    pub(super) fn expect_snapshot_holds(
        &mut self,
        source: &Name,
        which: &Which,
        volume: &Name,
        at: &Moment,
    ) -> Told {
        let expected = self.expected(Some((source, which)), volume, at)?;
        self.probes += 1;
        let probe = source.sibling(format!("probe-{}", self.probes));
        let claim =
            Claim { name: probe.clone(), filled_from: None, class: Some("rbd".to_owned()), capacity: None };
        self.build_claim(&claim)?;
        self.await_bound(&probe)?;
        let destination = self.probe_destination(source, which, &probe)?;
        self.apply(&destination)?;
        let wanted = probe.clone();
        let waited =
            self.wait_until(&format!("a snapshot of {source} to be restored"), PATIENCE, move |bed| {
                let object = bed.get("ReplicationDestination", wanted.namespace(), wanted.name())?;
                (object.pointer("/status/lastManualSync").is_some_and(|tag| tag == "probe")).then_some(object)
            });
        let object = waited.map_err(|stalled| {
            let seen = self.must_get_kind("ReplicationDestination", &probe).map(|object| explain(&object));
            Failure::violated(format!(
                "no snapshot of {source} could be restored: {stalled}; {}",
                seen.unwrap_or_else(|failure| failure.reason)
            ))
        })?;
        let result = object
            .pointer("/status/latestMoverStatus/result")
            .and_then(Value::as_str)
            .unwrap_or("unknown")
            .to_owned();
        if result != "Successful" {
            return Err(Failure::violated(format!(
                "the restore of a snapshot of {source} was {result}: {}",
                explain(&object)
            )));
        }
        let report = self.read_back(&probe, &expected)?;
        for kind in ["ReplicationDestination", "PersistentVolumeClaim"] {
            self.destroy(&ObjectRef::new(kind, probe.clone()))?;
        }
        self.judge_tree(&format!("the snapshot of {source}"), volume, &report)
    }

    fn probe_destination(&self, source: &Name, which: &Which, probe: &Name) -> Result<Value, Failure> {
        let object = self.must_get_kind("ReplicationSource", source)?;
        let from = object.pointer("/spec/kopia").cloned().unwrap_or_default();
        let mut kopia = json!({
            "repository": from["repository"],
            "destinationPVC": probe.name(),
            "copyMethod": "Direct",
            "sourceIdentity": {"sourceName": source.name(), "sourceNamespace": source.namespace()},
        });
        for key in ["username", "hostname", "moverVolumes", "customCA", "moverSecurityContext"] {
            if !from[key].is_null() {
                kopia[key] = from[key].clone();
            }
        }
        if let Some(path) = from["sourcePathOverride"].as_str() {
            kopia["sourceIdentity"]["sourcePathOverride"] = json!(path);
        }
        match which {
            Which::Newest => {}
            Which::Before(number) => kopia["previous"] = json!(number),
            Which::AsOf(moment) => kopia["restoreAsOf"] = json!(self.moment(moment)?.to_string()),
        }
        Ok(json!({
            "apiVersion": "volsync.backube/v1alpha1",
            "kind": "ReplicationDestination",
            "metadata": {"name": probe.name(), "namespace": probe.namespace()},
            "spec": {"trigger": {"manual": "probe"}, "kopia": kopia},
        }))
    }

    pub(super) fn expect_claim_holds(&mut self, claim: &Name, volume: &Name, at: &Moment) -> Told {
        let expected = self.expected(None, volume, at)?;
        let report = self.read_back(claim, &expected)?;
        self.judge_tree(&format!("the claim {claim}"), volume, &report)
    }

    fn read_back(&mut self, claim: &Name, expected: &Entry) -> Result<Report, Failure> {
        let medium = self.medium(claim)?;
        Ok(compare(expected, &inspect::read_back(&medium), Carries::kopia().without_mount_point()))
    }

    pub(super) fn judge_tree(&mut self, what: &str, volume: &Name, report: &Report) -> Told {
        self.losses
            .extend(report.losses.iter().map(|(loss, tally)| format!("{loss} ({} times)", tally.count)));
        if report.is_equal() {
            return Ok(format!(
                "{} files, {} bytes compared, {} declared losses",
                report.files,
                report.bytes,
                report.losses.len()
            ));
        }
        let first: Vec<_> = report.differences.iter().take(5).map(ToString::to_string).collect();
        let more = report.differing().saturating_sub(first.len() as u64);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        Err(Failure::violated(format!("{what} differs from what {volume} held: {}{more}", first.join("; "))))
    }

    /// What a volume held at a moment.
    pub(super) fn expected(
        &self,
        snapshot: Option<(&Name, &Which)>,
        volume: &Name,
        at: &Moment,
    ) -> Result<Entry, Failure> {
        let instant = match at {
            Moment::Now => self.now(),
            Moment::Remembered(moment) => self.moment(moment)?,
            Moment::LastSync => {
                let source = match snapshot {
                    Some((source, _)) => source.clone(),
                    None => self
                        .volume_of
                        .iter()
                        .find(|(_, of)| *of == volume)
                        .map(|(source, _)| source.clone())
                        .ok_or_else(|| {
                            Failure::broken(format!(
                                "no replication source backs up {volume}: name a moment instead"
                            ))
                        })?,
                };
                let starts = self.scribe().ask(|book| book.sync_starts(&source).to_vec());
                let back = match snapshot {
                    Some((_, Which::Before(number))) => *number as usize,
                    _ => 0,
                };
                let chosen = match snapshot {
                    Some((_, Which::AsOf(moment))) => {
                        let limit = self.moment(moment)?;
                        starts.iter().rev().find(|start| **start <= limit).copied()
                    }
                    _ => starts.iter().rev().nth(back).copied(),
                };
                chosen.ok_or_else(|| {
                    Failure::violated(format!(
                        "{source} has not synchronised often enough to have such a snapshot"
                    ))
                })?
            }
        };
        self.bed().ledger_at(volume.namespace(), volume.name(), instant).ok_or_else(|| {
            Failure::broken(format!(
                "the scenario had not filled {volume} by {instant}, so nobody knows what it held"
            ))
        })
    }

    pub(super) fn expect_claim_empty(&mut self, claim: &Name) -> Told {
        let medium = self.medium(claim)?;
        let count = inspect::entries(&medium);
        if count == 0 {
            return Ok(String::new());
        }
        Err(Failure::violated(format!("the claim {claim} holds {count} entries instead of nothing")))
    }

    pub(super) fn expect_claim_bound(&mut self, claim: &Name, bound: bool) -> Told {
        let object = self.must_get_kind("PersistentVolumeClaim", claim)?;
        let phase = object.pointer("/status/phase").and_then(Value::as_str).unwrap_or("unknown");
        if (phase == "Bound") == bound {
            return Ok(phase.to_owned());
        }
        Err(Failure::violated(format!("the claim {claim} is {phase}")))
    }

    /// The identity under which a replication source's snapshots stand: user and host.
    pub(super) fn identity(&self, source: &Name) -> Result<(String, String), Failure> {
        let object = self.must_get_kind("ReplicationSource", source)?;
        let text = |key: &str| {
            object.pointer(&format!("/spec/kopia/{key}")).and_then(Value::as_str).map(str::to_owned)
        };
        let user = text("username").unwrap_or_else(|| source.name().to_owned());
        let host = text("hostname").unwrap_or_else(|| source.namespace().to_owned());
        Ok((user, host))
    }

    fn snapshots_of(&mut self, source: &Name) -> Result<usize, Failure> {
        let repository =
            self.repository_of.get(source).cloned().ok_or_else(|| {
                Failure::broken(format!("the scenario builds no replication source {source}"))
            })?;
        let (user, host) = self.identity(source)?;
        let contents = self.contents(&repository)?;
        Ok(contents.map_or(0, |contents| {
            contents
                .snapshots
                .iter()
                .filter(|snapshot| snapshot.username == user && snapshot.host == host && snapshot.complete)
                .count()
        }))
    }

    pub(super) fn expect_snapshots(&mut self, source: &Name, count: Count) -> Told {
        let seen = self.snapshots_of(source)?;
        if count.allows(u32::try_from(seen).unwrap_or(u32::MAX)) {
            return Ok(format!("{seen} snapshots"));
        }
        Err(Failure::violated(format!(
            "the repository holds {seen} snapshots of {source} instead of {count:?}"
        )))
    }

    pub(super) fn expect_no_duplicate(&mut self, source: &Name) -> Told {
        let snapshots = self.snapshots_of(source)?;
        let syncs = self.syncs_of(source) as usize;
        if snapshots == syncs {
            return Ok(format!("{snapshots} of each"));
        }
        Err(Failure::violated(format!(
            "{source} counts {syncs} syncs, but the repository holds {snapshots} snapshots of it"
        )))
    }

    /// Restores under the other's identity must find none of these snapshots: the identities differ, and
    /// no snapshot of the one stands under the other.
    pub(super) fn expect_not_visible(&mut self, of: &Name, to: &Name) -> Told {
        let (one, other) = (self.identity(of)?, self.identity(to)?);
        if one == other {
            return Err(Failure::violated(format!(
                "{of} and {to} share the identity {}@{}: each sees the other's snapshots",
                one.0, one.1
            )));
        }
        let (mine, theirs) = (self.snapshots_of(of)?, self.snapshots_of(to)?);
        if mine == 0 || theirs == 0 {
            return Err(Failure::violated(format!(
                "{of} has {mine} and {to} has {theirs} snapshots: nothing was shown"
            )));
        }
        Ok(format!("{mine} stand under {}@{}, {theirs} under {}@{}", one.0, one.1, other.0, other.1))
    }
}
