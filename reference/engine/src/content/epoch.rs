//! Epochs: which index blobs count.
//!
//! A pure view over one listing of `x…` blobs: the write epoch, the deletion watermark, the live set, and
//! what maintenance may advance, compact or delete. It reads and writes nothing itself. Blobs of epochs
//! beyond the next one are invisible, and malformed names are ignored, as in Kopia.

#![expect(clippy::cast_possible_wrap, reason = "sizes and counts stay far below 2^63")]

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{format::EpochParameters, store::Metadata};

/// One listing, understood.
#[derive(Clone, Debug, Default)]
pub struct Epochs {
    /// The write epoch.
    pub current: u64,
    /// Deletions up to this time (seconds since 1970) are final.
    pub watermark: Option<i64>,
    markers: BTreeMap<u64, Metadata>,
    watermarks: BTreeMap<i64, Metadata>,
    uncompacted: BTreeMap<u64, Vec<Metadata>>,
    compacted: BTreeMap<u64, Vec<Metadata>>,
    /// The chosen chain of ranges: first and last epoch of each, and its blobs.
    chain: Vec<(u64, u64, Vec<Metadata>)>,
}

/// The epoch in a name: the digits between the two letters and the first underscore.
fn epoch_of(name: &str) -> Option<u64> {
    name.get(2..)?.split('_').next()?.parse().ok()
}

/// The set that a blob belongs to and how many blobs it has; `None` where a name tells neither.
fn set_of(name: &str) -> Option<(&str, Option<usize>)> {
    let mut parts = name.split('-').skip(1);
    let (set, count) = (parts.next()?, parts.next()?);
    let is_set = parts.next().is_none() && set.starts_with('s') && count.starts_with('c');
    is_set.then(|| (set, count[1..].parse().ok()))
}

/// The first complete set among blobs that may belong to several: all share `s…` and there are `c<count>` of them.
fn complete_set(blobs: Vec<Metadata>) -> Option<Vec<Metadata>> {
    // A year has hundreds of compacted epochs of one blob each.
    if let [blob] = &blobs[..] {
        return set_of(&blob.id).is_none_or(|(_, count)| count == Some(1)).then_some(blobs);
    }
    let mut sets: BTreeMap<&str, Vec<&Metadata>> = BTreeMap::new();
    for blob in &blobs {
        let Some((set, count)) = set_of(&blob.id) else { return Some(vec![blob.clone()]) };
        let members = sets.entry(set).or_default();
        members.push(blob);
        if count == Some(members.len()) {
            return Some(members.iter().map(|member| (*member).clone()).collect());
        }
    }
    None
}

/// Chooses ranges that follow each other from epoch 0 as far as possible, with as few as possible.
fn chain(ranges: &BTreeMap<(u64, u64), Vec<Metadata>>) -> Vec<(u64, u64, Vec<Metadata>)> {
    // Best way to reach "everything before this epoch": number of pieces, and the last piece.
    let mut best: BTreeMap<u64, (usize, Option<(u64, u64)>)> = BTreeMap::from([(0, (0, None))]);
    // Sorted by first epoch, so that whatever leads to a range was seen before it.
    for (first, last) in ranges.keys().copied().filter(|(first, last)| last >= first) {
        let Some((pieces, _)) = best.get(&first).copied() else { continue };
        let candidate = (pieces + 1, Some((first, last)));
        let place = best.entry(last + 1).or_insert(candidate);
        if candidate.0 < place.0 {
            *place = candidate;
        }
    }
    let mut pieces = Vec::new();
    let mut at = *best.last_key_value().expect("epoch 0 is always reached").0;
    while let Some((_, Some((first, last)))) = best.get(&at) {
        pieces.push((*first, *last, ranges[&(*first, *last)].clone()));
        at = *first;
    }
    pieces.reverse();
    pieces
}

impl Epochs {
    /// Understands a listing of all blobs whose names start with `x`.
    pub fn new(listing: Vec<Metadata>) -> Self {
        let mut epochs = Self::default();
        let mut ranges: BTreeMap<(u64, u64), Vec<Metadata>> = BTreeMap::new();
        let mut compacted: BTreeMap<u64, Vec<Metadata>> = BTreeMap::new();
        for blob in listing {
            match (blob.id.get(..2), epoch_of(&blob.id)) {
                (Some("xe"), Some(epoch)) => drop(epochs.markers.insert(epoch, blob)),
                (Some("xw"), Some(seconds)) => drop(epochs.watermarks.insert(seconds as i64, blob)),
                (Some("xn"), Some(epoch)) => epochs.uncompacted.entry(epoch).or_default().push(blob),
                (Some("xs"), Some(epoch)) => compacted.entry(epoch).or_default().push(blob),
                (Some("xr"), Some(first)) => {
                    if let Some(last) = blob.id.split('_').nth(1).and_then(|last| last.parse().ok()) {
                        ranges.entry((first, last)).or_default().push(blob);
                    }
                }
                _ => {}
            }
        }
        epochs.current = epochs.markers.last_key_value().map_or(0, |(epoch, _)| *epoch);
        epochs.watermark = epochs.watermarks.last_key_value().map(|(seconds, _)| *seconds);
        epochs.compacted =
            compacted.into_iter().filter_map(|(epoch, blobs)| Some((epoch, complete_set(blobs)?))).collect();
        let ranges =
            ranges.into_iter().filter_map(|(range, blobs)| Some((range, complete_set(blobs)?))).collect();
        epochs.chain = chain(&ranges);
        epochs
    }

    /// The first epoch that no range covers.
    fn uncovered(&self) -> u64 {
        self.chain.last().map_or(0, |(_, last, _)| last + 1)
    }
    /// The live blobs of one epoch that no range covers.
    fn live_of(&self, epoch: u64) -> &[Metadata] {
        let settled = epoch + 2 <= self.current;
        match self.compacted.get(&epoch) {
            Some(set) if settled => set,
            _ => self.uncompacted.get(&epoch).map_or(&[], Vec::as_slice),
        }
    }
    /// Every index blob that counts.
    pub fn live(&self) -> impl Iterator<Item = &Metadata> {
        let ranges = self.chain.iter().flat_map(|(.., blobs)| blobs);
        ranges.chain((self.uncovered()..=self.current + 1).flat_map(|epoch| self.live_of(epoch)))
    }

    /// Whether it is time for the next epoch: old enough, and enough blobs or bytes in the present one.
    pub fn should_advance(&self, parameters: &EpochParameters) -> bool {
        let Some(blobs) = self.uncompacted.get(&self.current).filter(|blobs| !blobs.is_empty()) else {
            return false;
        };
        let (oldest, newest) =
            blobs.iter().fold((blobs[0].modified, blobs[0].modified), |(oldest, newest), blob| {
                (oldest.min(blob.modified), newest.max(blob.modified))
            });
        let bytes: u64 = blobs.iter().map(|blob| blob.length).sum();
        newest.as_nanosecond() - oldest.as_nanosecond() >= i128::from(parameters.min_epoch_duration)
            && (blobs.len() as i64 >= parameters.epoch_advance_on_count_threshold
                || bytes as i64 >= parameters.epoch_advance_on_total_size_bytes_threshold)
    }
    /// The epoch to compact next, with its blobs.
    pub fn to_compact(&self) -> Option<(u64, Vec<Metadata>)> {
        let mut epoch = self.uncovered();
        while self.compacted.contains_key(&epoch) {
            epoch += 1;
        }
        let blobs = self.uncompacted.get(&epoch).filter(|blobs| !blobs.is_empty())?;
        (epoch + 2 <= self.current).then(|| (epoch, blobs.clone()))
    }
    /// The range to compact next (first and last epoch), with the live blobs of its epochs.
    pub fn to_compact_range(&self, parameters: &EpochParameters) -> Option<(u64, u64, Vec<Metadata>)> {
        let first = self.uncovered();
        let last = self.current.checked_sub(2)?;
        if last < first || ((last - first) as i64) < parameters.full_checkpoint_frequency {
            return None;
        }
        Some((first, last, (first..=last).flat_map(|epoch| self.live_of(epoch)).cloned().collect()))
    }

    /// The clock by which superseded blobs are judged: the newest storage time of recent index blobs.
    fn clock(&self) -> Option<Timestamp> {
        let recent = self.current.saturating_sub(1)..=self.current + 1;
        self.uncompacted.range(recent).flat_map(|(_, blobs)| blobs).map(|blob| blob.modified).max()
    }
    fn is_older(blob: &Metadata, clock: Timestamp, parameters: &EpochParameters) -> bool {
        clock.as_nanosecond() - blob.modified.as_nanosecond() > i128::from(parameters.cleanup_safety_margin)
    }
    /// Epoch markers and watermarks that may go. The newest watermark never does.
    pub fn superseded_markers(&self, parameters: &EpochParameters) -> Vec<Metadata> {
        let Some(clock) = self.clock() else { return Vec::new() };
        let markers =
            self.markers.iter().filter(|(epoch, _)| **epoch + 1 < self.current).map(|(_, blob)| blob);
        let watermarks = self
            .watermarks
            .iter()
            .filter(|(seconds, _)| Some(**seconds) != self.watermark)
            .map(|(_, blob)| blob);
        markers.chain(watermarks.filter(|blob| Self::is_older(blob, clock, parameters))).cloned().collect()
    }
    /// Uncompacted index blobs whose epoch has been compacted long enough ago.
    pub fn superseded_indexes(&self, parameters: &EpochParameters) -> Vec<Metadata> {
        let Some(clock) = self.clock() else { return Vec::new() };
        let settled = |epoch: &u64| {
            let newest =
                self.compacted.get(epoch).and_then(|set| set.iter().max_by_key(|blob| blob.modified));
            newest.is_some_and(|newest| Self::is_older(newest, clock, parameters))
        };
        self.uncompacted
            .iter()
            .filter(|(epoch, _)| settled(epoch))
            .flat_map(|(_, blobs)| blobs.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(id: &str, hours: i64) -> Metadata {
        Metadata {
            id: id.to_owned(),
            length: 1000,
            modified: Timestamp::from_second(1_700_000_000 + hours * 3600).unwrap(),
        }
    }
    fn epochs(names: &[&str]) -> Epochs {
        Epochs::new(names.iter().map(|name| blob(name, 0)).collect())
    }
    fn check(names: &[&str], expected: &[&str]) {
        let live: Vec<String> = epochs(names).live().map(|blob| blob.id.clone()).collect();
        assert_eq!(live, expected, "{names:?}");
    }

    #[test]
    fn the_live_set_follows_the_specification() {
        check(&[], &[]);
        check(&["xn0_a-s1-c1", "xn1_b-s1-c1", "xn2_c-s1-c1"], &["xn0_a-s1-c1", "xn1_b-s1-c1"]);
        // A compaction counts only two epochs back, and only when complete.
        check(&["xe1", "xn0_a-s1-c1", "xs0_z-s2-c1"], &["xn0_a-s1-c1"]);
        check(&["xe2", "xn0_a-s1-c1", "xs0_z-s2-c1"], &["xs0_z-s2-c1"]);
        check(&["xe2", "xn0_a-s1-c1", "xs0_z-s2-c2"], &["xn0_a-s1-c1"]);
        check(&["xe2", "xn0_a-s1-c1", "xs0_y-s2-c2", "xs0_z-s2-c2"], &["xs0_y-s2-c2", "xs0_z-s2-c2"]);
        // A name without a tail is a set by itself; malformed names are nothing.
        check(&["xe2", "xn0_a", "xs0_z", "xnz_q", "xr0_z"], &["xs0_z"]);
        // Ranges form a chain from 0; a gap ends it, the longest reach wins, then fewer pieces.
        check(
            &[
                "xe9",
                "xr0_1_a-s1-c1",
                "xr2_3_b-s2-c1",
                "xr0_3_c-s3-c1",
                "xr5_6_d-s4-c1",
                "xn1_x",
                "xn4_y",
                "xn9_z",
                "xn10_v",
            ],
            &["xr0_3_c-s3-c1", "xn4_y", "xn9_z", "xn10_v"],
        );
    }

    #[test]
    fn an_epoch_advances_when_old_and_full() {
        let parameters = EpochParameters::kopia();
        let with = |count: i64, hours: i64| {
            let blobs: Vec<_> =
                (0..count).map(|n| blob(&format!("xn0_{n}"), n * hours / (count - 1))).collect();
            Epochs::new(blobs).should_advance(&parameters)
        };
        assert!(with(20, 24));
        assert!(!with(19, 24));
        assert!(!with(20, 23));
        assert!(!Epochs::default().should_advance(&parameters));
    }

    #[test]
    fn compaction_chooses_settled_epochs_only() {
        assert_eq!(epochs(&["xe1", "xn0_a"]).to_compact(), None);
        assert_eq!(epochs(&["xe2", "xn0_a"]).to_compact().unwrap().0, 0);
        assert_eq!(epochs(&["xe2", "xn0_a", "xs0_b"]).to_compact(), None);
        assert_eq!(epochs(&["xe3", "xn0_a", "xs0_b", "xn1_c"]).to_compact().unwrap().0, 1);
        let parameters = EpochParameters::kopia();
        let names: Vec<String> = (0..10).map(|epoch| format!("xs{epoch}_a")).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.push("xe8");
        assert_eq!(epochs(&names).to_compact_range(&parameters).map(|(first, last, _)| (first, last)), None);
        names.push("xe9");
        assert_eq!(
            epochs(&names).to_compact_range(&parameters).map(|(first, last, _)| (first, last)),
            Some((0, 7))
        );
    }

    #[test]
    fn only_superseded_things_go_and_only_after_the_margin() {
        let parameters = EpochParameters::kopia();
        let superseded = |hours| {
            let epochs = Epochs::new(vec![
                blob("xe1", 0),
                blob("xe2", 0),
                blob("xe3", 0),
                blob("xw100", 0),
                blob("xw200", 0),
                blob("xn0_a", 0),
                blob("xs0_b", 0),
                blob("xn1_c", 0),
                blob("xn3_d", hours),
            ]);
            let markers = epochs.superseded_markers(&parameters);
            let indexes = epochs.superseded_indexes(&parameters);
            markers.into_iter().chain(indexes).map(|blob| blob.id).collect::<Vec<_>>()
        };
        assert_eq!(superseded(4), ["xe1"]);
        assert_eq!(superseded(5), ["xe1", "xw100", "xn0_a"]);
    }
}
