//! A second machine's view: what a repository restores to where nobody has ever opened it.
//!
//! The bed restores; here it is decided which snapshot, and judged with the same oracle as every other restore. Who
//! restored is told, because on each bed it is somebody else.

use scenario::{
    Name,
    expect::{Moment, Which},
};
use testbed::{
    inspect,
    oracle::restore::{Carries, compare},
};

use super::{Failure, Stage, Told};

impl Stage {
    pub(super) fn expect_restores_elsewhere(&mut self, repository: &Name, volume: &Name) -> Told {
        let into_it = |source: &&Name| {
            self.repository_of.get(*source) == Some(repository) && self.volume_of.get(*source) == Some(volume)
        };
        let source = self.volume_of.keys().find(into_it).cloned().ok_or_else(|| {
            Failure::broken(format!("no replication source backs up {volume} into {repository}: build one"))
        })?;
        let expected = self.expected(Some((&source, &Which::Newest)), volume, &Moment::LastSync)?;
        let (user, host) = self.identity(&source)?;
        let contents = self.must_contents(repository)?;
        let mine = contents
            .snapshots
            .into_iter()
            .filter(|snapshot| snapshot.username == user && snapshot.host == host && snapshot.complete);
        let newest = mine
            .max_by_key(|snapshot| snapshot.start)
            .ok_or_else(|| Failure::violated(format!("{repository} holds no snapshot of {user}@{host}")))?;
        let (place, password) = {
            let built = self.built(repository)?;
            (built.on.clone(), built.password.clone())
        };
        let restored = self.bed_mut().restore_elsewhere(&place, &password, &newest)?;
        if restored.is_empty() {
            return Err(Failure::violated(format!("the place of {repository} is gone")));
        }
        let mut told = Vec::new();
        for one in restored {
            let held = one.held.map_err(|why| {
                Failure::violated(format!("{repository} does not restore by {}: {why}", one.by))
            })?;
            let carries = Carries::kopia().without_mount_point();
            let report = compare(&expected, &inspect::read_back(&held), carries);
            let what = format!("what {} restored of {repository}", one.by);
            let words = self.judge_tree(&what, volume, &report)?;
            told.push(format!("by {}: {words}", one.by));
        }
        Ok(told.join("; "))
    }
}
