//! The register: arms faults, answers the seams, counts firings, lifts.
//!
//! Cheap to clone; all clones are one register. It promises: a point's number is how often that
//! operation happened before, whatever is armed; faults are asked in the order of arming and the first
//! that has something to say decides; every arming, firing and lift reaches the observer, in order; the
//! same seed and calls give the same verdicts. It never waits by itself except in [`Register::pass`] and
//! [`Register::lifted`], and never reads a clock. It does not carry a verdict out: the double does.
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use jiff::{SignedDuration, Timestamp};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{Fault, Point, Seam, Verdict};

/// An armed fault's number, in order of arming, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id(pub u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault-{}", self.0)
    }
}

/// What the observer is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A fault was armed.
    Armed {
        /// Its number.
        id: Id,
        /// The fault.
        fault: Fault,
    },
    /// A fault struck.
    Fired {
        /// Its number.
        id: Id,
        /// Its name.
        name: &'static str,
        /// Where it struck.
        point: Point,
        /// What the double was told.
        verdict: Verdict,
    },
    /// A fault was lifted.
    Lifted {
        /// Its number.
        id: Id,
        /// Its name.
        name: &'static str,
        /// Whether it left something behind that only a restart of the seam's process clears.
        lingers: bool,
    },
    /// The process behind a seam was restarted; what lingered in it is gone.
    Restarted {
        /// The seam.
        seam: Seam,
    },
}

/// Receives each event, in order.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// The answer at a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The point, numbered.
    pub point: Point,
    /// What to do.
    pub verdict: Verdict,
    /// The fault that decided; `None` with [`Verdict::Proceed`].
    pub by: Option<Id>,
}

/// One firing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// Where.
    pub point: Point,
    /// What was told.
    pub verdict: Verdict,
}

/// A fault that strikes bytes at rest and waits for its holder to carry it out.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its number.
    pub id: Id,
    /// The fault.
    pub fault: Fault,
    /// The seed from which the victim is chosen.
    pub seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Armed,
    Lingering,
    Over,
}

struct Arming {
    fault: Fault,
    phase: Phase,
    matched: u64,
    count: u64,
    firings: Vec<Firing>,
    seed: u64,
    chance: ChaCha8Rng,
    memory: BTreeSet<String>,
}

/// How many firings of one fault are kept word for word; all are counted.
const FIRINGS_KEPT: usize = 1000;

type Counter = (Seam, String, String, String);

struct State {
    seed: u64,
    armed: BTreeMap<Id, Arming>,
    counters: BTreeMap<Counter, u64>,
    kills: BTreeMap<String, VecDeque<i32>>,
    observer: Option<Observer>,
}

struct Inner {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

/// The register of armed faults; clones share it.
#[derive(Clone)]
pub struct Register(Arc<Inner>);

impl Default for Register {
    fn default() -> Self {
        Self::new(0)
    }
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").field("armed", &self.armed()).finish_non_exhaustive()
    }
}

impl Register {
    /// An empty register whose chances come from this seed.
    pub fn new(seed: u64) -> Self {
        let state = State {
            seed,
            armed: BTreeMap::new(),
            counters: BTreeMap::new(),
            kills: BTreeMap::new(),
            observer: None,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), changes: watch::Sender::new(0) }))
    }

    /// Shows every later event to `observer`, which must not call back into the register.
    pub fn observe(&self, observer: Observer) {
        self.state().observer = Some(observer);
    }

    /// Arms a fault; it strikes from the next operation on.
    pub fn arm(&self, fault: impl Into<Fault>) -> Id {
        let fault = fault.into();
        let mut state = self.state();
        let id = Id(state.armed.len() as u64 + 1);
        // One stream per arming: what one fault draws does not change what another sees.
        let seed = state.seed ^ id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let event = Event::Armed { id, fault: fault.clone() };
        let arming = Arming {
            fault,
            phase: Phase::Armed,
            matched: 0,
            count: 0,
            firings: Vec::new(),
            seed,
            chance: ChaCha8Rng::seed_from_u64(seed),
            memory: BTreeSet::new(),
        };
        state.armed.insert(id, arming);
        self.tell(state, &[event]);
        id
    }

    /// Lifts a fault; hung operations go on, unless it left something behind ([`crate::Effect::lingers`]).
    /// Lifting twice, or an unknown number, does nothing.
    pub fn lift(&self, id: Id) {
        let mut state = self.state();
        let mut events = Vec::new();
        if let Some(arming) = state.armed.get_mut(&id)
            && arming.phase == Phase::Armed
        {
            let lingers = arming.fault.effect().lingers(&arming.memory);
            arming.phase = if lingers { Phase::Lingering } else { Phase::Over };
            events.push(Event::Lifted { id, name: arming.fault.name(), lingers });
        }
        self.tell(state, &events);
    }

    /// Lifts every armed fault of this name and tells how many there were.
    pub fn lift_named(&self, name: &str) -> usize {
        let ids: Vec<Id> = self
            .state()
            .armed
            .iter()
            .filter(|(_, arming)| arming.phase == Phase::Armed && arming.fault.name() == name)
            .map(|(id, _)| *id)
            .collect();
        for id in &ids {
            self.lift(*id);
        }
        ids.len()
    }

    /// Lifts everything.
    pub fn lift_all(&self) {
        for id in self.armed() {
            self.lift(id);
        }
    }

    /// The process behind a seam was restarted: what only lived in its memory is gone.
    pub fn restarted(&self, seam: Seam) {
        let mut state = self.state();
        for arming in state.armed.values_mut().filter(|arming| arming.fault.row().seam == seam) {
            arming.memory.clear();
            if arming.phase == Phase::Lingering {
                arming.phase = Phase::Over;
            }
        }
        self.tell(state, &[Event::Restarted { seam }]);
    }

    /// Numbers an operation and tells what to do.
    pub fn at(&self, seam: Seam, actor: &str, operation: &str, class: &str) -> Decision {
        let mut state = self.state();
        let key = (seam, actor.to_owned(), operation.to_owned(), class.to_owned());
        let counter = state.counters.entry(key).or_insert(0);
        let nth = *counter;
        *counter += 1;
        let point = Point {
            seam,
            actor: actor.to_owned(),
            operation: operation.to_owned(),
            class: class.to_owned(),
            nth,
        };
        let struck = state.armed.iter_mut().find_map(|(id, arming)| Some((*id, arming.strike(&point)?)));
        let Some((id, verdict)) = struck else {
            return Decision { point, verdict: Verdict::Proceed, by: None };
        };
        if let Verdict::Kill(signal) = verdict {
            state.kills.entry(point.actor.clone()).or_default().push_back(signal);
        }
        let event = state.fired(id, &point, &verdict);
        self.tell(state, event.as_slice());
        Decision { point, verdict, by: Some(id) }
    }

    /// As [`Register::at`], only without the number of the fault.
    pub fn verdict(&self, seam: Seam, actor: &str, operation: &str, class: &str) -> (Point, Verdict) {
        let decision = self.at(seam, actor, operation, class);
        (decision.point, decision.verdict)
    }

    /// As [`Register::at`], and waits where that is the verdict: through a hang until the lift, through a
    /// delay for its time. The verdict returned is never [`Verdict::Hang`] nor [`Verdict::Delay`].
    ///
    /// # Cancellation
    /// The operation is numbered and the firing counted when the call begins.
    pub async fn pass(&self, seam: Seam, actor: &str, operation: &str, class: &str) -> (Point, Verdict) {
        let Decision { point, verdict, by } = self.at(seam, actor, operation, class);
        match (verdict, by) {
            (Verdict::Hang, Some(id)) => {
                self.lifted(id).await;
                (point, Verdict::Proceed)
            }
            (Verdict::Delay(by), _) => {
                tokio::time::sleep(by).await;
                (point, Verdict::Proceed)
            }
            (verdict, _) => (point, verdict),
        }
    }

    /// Waits until the fault no longer acts: lifted, and nothing of it lingers.
    pub async fn lifted(&self, id: Id) {
        let mut changes = self.0.changes.subscribe();
        while !self.is_over(id) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether the fault no longer acts; true for numbers never given.
    pub fn is_over(&self, id: Id) -> bool {
        self.state().armed.get(&id).is_none_or(|arming| arming.phase == Phase::Over)
    }

    /// Waits for the next signal that a [`Verdict::Kill`] sent to this actor, and takes it.
    ///
    /// # Cancellation
    /// Safe: a signal that was not returned stays for the next call.
    pub async fn killed(&self, actor: &str) -> i32 {
        let mut changes = self.0.changes.subscribe();
        loop {
            let next = self.state().kills.get_mut(actor).and_then(VecDeque::pop_front);
            if let Some(signal) = next {
                return signal;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What this actor's clock shows when the bed's clock shows `now`.
    pub fn clock(&self, actor: &str, now: Timestamp) -> Timestamp {
        if !self
            .state()
            .armed
            .values()
            .any(|arming| arming.fault.row().seam == Seam::Clock && arming.phase == Phase::Armed)
        {
            return now;
        }
        let mut state = self.state();
        let mut shown = now;
        let mut events = Vec::new();
        let point = Point {
            seam: Seam::Clock,
            actor: actor.into(),
            operation: "now".into(),
            class: "clock".into(),
            nth: 0,
        };
        let struck: Vec<(Id, SignedDuration, bool)> = state
            .armed
            .iter()
            .filter(|(_, arming)| arming.phase == Phase::Armed && arming.fault.effect().aim().fits(&point))
            .filter_map(|(id, arming)| Some((*id, arming.offset(now)?, arming.count == 0)))
            .collect();
        for (id, offset, first) in struck {
            shown = shown.checked_add(offset).unwrap_or(shown);
            // A clock is read at every turn: one firing per actor is what the record needs.
            if first {
                events.extend(state.fired(id, &point, &Verdict::Corrupt(format!("{offset:#}"))));
            }
        }
        self.tell(state, &events);
        shown
    }

    /// The faults that strike bytes at rest in this holder and have not struck yet.
    pub fn due(&self, holder: &str) -> Vec<Due> {
        let state = self.state();
        let due = state.armed.iter().filter(|(_, arming)| {
            arming.phase == Phase::Armed
                && arming.count == 0
                && arming.fault.at_rest_in().is_some_and(|pattern| crate::aim::matches(pattern, holder))
        });
        due.map(|(id, arming)| Due { id: *id, fault: arming.fault.clone(), seed: arming.seed }).collect()
    }

    /// A holder carried out a fault that was due: bytes at rest were changed at `point`.
    pub fn struck(&self, id: Id, point: &Point, what: &str) {
        let mut state = self.state();
        let event = state.fired(id, point, &Verdict::Corrupt(what.to_owned()));
        self.tell(state, event.as_slice());
    }

    /// The fault of this number.
    pub fn fault(&self, id: Id) -> Option<Fault> {
        self.state().armed.get(&id).map(|arming| arming.fault.clone())
    }

    /// How often the fault has fired.
    pub fn firings(&self, id: Id) -> u64 {
        self.state().armed.get(&id).map_or(0, |arming| arming.count)
    }

    /// The fault's firings word for word, the first thousand.
    pub fn fired(&self, id: Id) -> Vec<Firing> {
        self.state().armed.get(&id).map_or_else(Vec::new, |arming| arming.firings.clone())
    }

    /// The faults that were armed and never fired, lifted or not: each fails its scenario.
    pub fn never_fired(&self) -> Vec<(Id, Fault)> {
        let state = self.state();
        state.armed.iter().filter(|(_, a)| a.count == 0).map(|(id, a)| (*id, a.fault.clone())).collect()
    }

    /// The faults armed now.
    pub fn armed(&self) -> Vec<Id> {
        let state = self.state();
        state.armed.iter().filter(|(_, a)| a.phase == Phase::Armed).map(|(id, _)| *id).collect()
    }

    /// Waits until anything changed in the register since the receiver last looked.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of the register's lock panics")
    }

    /// Shows events while the lock is held, so that their order is that of the changes; then wakes waiters.
    fn tell(&self, state: MutexGuard<'_, State>, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        if let Some(observer) = &state.observer {
            for event in events {
                observer(event);
            }
        }
        drop(state);
        self.0.changes.send_modify(|version| *version += 1);
    }
}

impl State {
    fn fired(&mut self, id: Id, point: &Point, verdict: &Verdict) -> Option<Event> {
        let arming = self.armed.get_mut(&id)?;
        arming.count += 1;
        if arming.firings.len() < FIRINGS_KEPT {
            arming.firings.push(Firing { point: point.clone(), verdict: verdict.clone() });
        }
        Some(Event::Fired { id, name: arming.fault.name(), point: point.clone(), verdict: verdict.clone() })
    }
}

impl Arming {
    fn strike(&mut self, point: &Point) -> Option<Verdict> {
        let effect = self.fault.effect();
        if self.phase == Phase::Over || !effect.reaches(point) || !effect.aim().fits(point) {
            return None;
        }
        if let Some(verdict) = effect.residue(point, &self.memory) {
            return Some(verdict);
        }
        if self.phase == Phase::Lingering {
            return None;
        }
        let aim = effect.aim();
        self.matched += 1;
        if self.matched <= aim.skip || aim.times.is_some_and(|times| self.count >= times) {
            return None;
        }
        if let Some(percent) = aim.percent
            && self.chance.random_range(0..100) >= percent
        {
            return None;
        }
        match effect.verdict(point, &mut self.chance, &mut self.memory) {
            Verdict::Proceed => None,
            verdict => Some(verdict),
        }
    }

    fn offset(&self, now: Timestamp) -> Option<SignedDuration> {
        match &self.fault {
            Fault::ClockJump(spec) => Some(spec.offset()),
            Fault::ClockDrift(spec) => Some(spec.offset(now)),
            _ => None,
        }
    }
}
