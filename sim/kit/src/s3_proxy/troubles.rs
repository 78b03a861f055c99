//! What is armed, what it does to a request, and how often it did.
//!
//! Faults of the store's seam that are verdicts on a request are the register's; those that only a connection can
//! suffer are troubles under the fault's name. One numbering and one list in order of arming tells all. A trouble is counted when it strikes, not when it could have: a reset
//! that a short body never reached did not happen.
use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use fault::{Aim, Fault, Id, Point, Register, Seam};

use super::operation::Operation;
use crate::s3_control::{Armed, Cap, Trouble};

/// Troubles and faults, armed and lifted.
pub struct Troubles {
    register: Register,
    all: Mutex<Vec<Entry>>,
}

enum Entry {
    Fault { id: Id, name: &'static str },
    Trouble(Arc<Armament>),
}

/// A trouble that was armed.
pub struct Armament {
    /// What.
    pub what: Trouble,
    name: &'static str,
    operation: String,
    aim: Aim,
    matched: AtomicU64,
    firings: AtomicU64,
    is_over: Mutex<bool>,
}

impl Armament {
    /// It struck once more.
    pub fn strike(&self) {
        self.firings.fetch_add(1, Ordering::Relaxed);
    }
    fn is_over(&self) -> bool {
        *self.is_over.lock().expect("no holder of the lock panics")
    }
    /// Whether this request is struck; counts it as matched.
    fn hits(&self, operation: &Operation) -> bool {
        let point = Point {
            seam: Seam::Store,
            actor: operation.actor.clone(),
            operation: operation.name.to_owned(),
            class: operation.class.clone(),
            nth: 0,
        };
        if self.is_over() || !fault::aim::matches(&self.operation, operation.name) || !self.aim.fits(&point) {
            return false;
        }
        let nth = self.matched.fetch_add(1, Ordering::Relaxed);
        let served = match self.what {
            Trouble::Capped { requests, .. } => requests,
            _ => 0,
        };
        let since = nth.checked_sub(self.aim.skip + served);
        let is_spent = self.aim.times.is_some_and(|times| self.firings.load(Ordering::Relaxed) >= times);
        // Every hundred requests the same ones: a share without chance.
        let is_lucky =
            |nth: u64| self.aim.percent.is_some_and(|percent| nth * 37 % 100 >= u64::from(percent));
        since.is_some_and(|nth| !is_lucky(nth)) && !is_spent
    }
}

impl Troubles {
    /// None yet.
    pub fn new(register: Register) -> Self {
        Self { register, all: Mutex::default() }
    }
    /// The register of faults.
    pub fn register(&self) -> &Register {
        &self.register
    }
    fn all(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.all.lock().expect("no holder of the list's lock panics")
    }
    /// Arms a fault.
    ///
    /// # Errors
    /// One sentence, for a fault that no proxy can carry out.
    pub fn arm(&self, fault: Fault) -> Result<(), String> {
        let name = fault.name();
        match fault {
            Fault::StoreReset(spec) => {
                self.add(name, Trouble::Reset { after_bytes: spec.after_bytes }, spec.operation, spec.aim);
            }
            Fault::StoreFull(spec) => {
                let full = Trouble::Capped { requests: 0, then: Cap::StorageFull };
                self.add(name, full, "put".to_owned(), spec.aim);
            }
            Fault::StoreClockSkew(spec) => {
                let skewed = Trouble::Skewed { by_seconds: spec.by.as_secs() };
                self.add(name, skewed, "*".to_owned(), spec.aim);
            }
            Fault::StoreUnavailable(_) | Fault::StoreSlow(_) => {
                let id = self.register.arm(fault);
                self.all().push(Entry::Fault { id, name });
            }
            _ => {
                return Err(format!(
                    "a proxy cannot carry out {name}: it is no weather between a client and a store"
                ));
            }
        }
        Ok(())
    }
    /// Arms a trouble.
    pub fn make(&self, what: Trouble, operation: String, aim: Aim) {
        self.add(what.name(), what, operation, aim);
    }
    fn add(&self, name: &'static str, what: Trouble, operation: String, aim: Aim) {
        let armament = Armament {
            what,
            name,
            operation,
            aim,
            matched: AtomicU64::new(0),
            firings: AtomicU64::new(0),
            is_over: Mutex::new(false),
        };
        self.all().push(Entry::Trouble(Arc::new(armament)));
    }
    /// Lifts one, by its place in the list from 1.
    ///
    /// # Errors
    /// One sentence, for a number that is not armed.
    pub fn lift(&self, number: u64) -> Result<(), String> {
        let all = self.all();
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        match place.and_then(|place| all.get(place)) {
            Some(Entry::Fault { id, .. }) => self.register.lift(*id),
            Some(Entry::Trouble(one)) => *one.is_over.lock().expect("no holder of the lock panics") = true,
            None => return Err(format!("nothing armed has the number {number}")),
        }
        Ok(())
    }
    /// Lifts all.
    pub fn lift_all(&self) {
        let count = self.all().len() as u64;
        for number in 1..=count {
            // Every number up to the list's length is armed.
            let _ = self.lift(number);
        }
    }
    /// The troubles that strike this request.
    pub fn at(&self, operation: &Operation) -> Vec<Arc<Armament>> {
        let all = self.all();
        let troubles = all.iter().filter_map(|entry| match entry {
            Entry::Trouble(one) => Some(one),
            Entry::Fault { .. } => None,
        });
        troubles.filter(|one| one.hits(operation)).cloned().collect()
    }
    /// All of them, in order of arming.
    pub fn told(&self) -> Vec<Armed> {
        let told = |(place, entry): (usize, &Entry)| {
            let (name, firings, is_over) = match entry {
                Entry::Fault { id, name } => (*name, self.register.firings(*id), self.register.is_over(*id)),
                Entry::Trouble(one) => (one.name, one.firings.load(Ordering::Relaxed), one.is_over()),
            };
            Armed { id: place as u64 + 1, name: name.to_owned(), firings, is_over }
        };
        self.all().iter().enumerate().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3_control::Cap;

    fn operation(name: &'static str) -> Operation {
        Operation { name, class: "main/p".into(), actor: "app".into(), is_signed: true }
    }

    #[test]
    fn an_aim_narrows_and_a_lift_ends() {
        let troubles = Troubles::new(Register::new(1));
        troubles.make(Trouble::SlowDown, "put".into(), Aim { times: Some(2), ..Aim::actor("app").skip(1) });
        let strike = |name| {
            let hit = troubles.at(&operation(name));
            hit.iter().for_each(|one| one.strike());
            !hit.is_empty()
        };
        assert_eq!(["get", "put", "put", "put", "put"].map(strike), [false, false, true, true, false]);
        troubles.make(Trouble::Capped { requests: 2, then: Cap::Refuse }, "*".into(), Aim::default());
        assert_eq!(["get", "put", "get"].map(strike), [false, false, true]);
        troubles.lift(2).unwrap();
        assert!(!strike("get"));
        troubles.make(Trouble::SlowDown, "*".into(), Aim { percent: Some(25), ..Aim::default() });
        assert_eq!((0..200).filter(|_| strike("get")).count(), 50);
        assert!(troubles.lift(9).is_err() && troubles.lift(0).is_err());
        let told: Vec<_> =
            troubles.told().into_iter().map(|one| (one.name, one.firings, one.is_over)).collect();
        assert_eq!(told[0], ("slow-down".to_owned(), 2, false));
        assert_eq!(told[1], ("capped".to_owned(), 1, true));
        assert!(troubles.arm(Fault::named("store-bit-rot").unwrap()).is_err());
    }

    #[test]
    fn faults_that_a_connection_suffers_keep_their_names_and_aims() {
        let troubles = Troubles::new(Register::new(1));
        for (fault, operation, other) in
            [("store-reset", "get", "delete"), ("store-full", "put", "get"), ("store-clock-skew", "list", "")]
        {
            let aim = Aim::class("main/*");
            let mut fault = Fault::named(fault).unwrap().aimed(aim);
            if let Fault::StoreReset(spec) = &mut fault {
                spec.operation = "get".to_owned();
            }
            troubles.arm(fault.clone()).unwrap();
            let hits = |operation| troubles.at(&operation);
            assert_eq!(hits(self::operation(operation)).len(), 1, "{fault:?}");
            assert!(other.is_empty() || hits(self::operation(other)).is_empty(), "{fault:?}");
            let elsewhere = Operation { class: "second/p".into(), ..self::operation(operation) };
            assert!(hits(elsewhere).is_empty(), "{fault:?}");
            let told = troubles.told();
            let newest = told.last().unwrap();
            assert_eq!(newest.name, fault.name());
            troubles.lift(newest.id).unwrap();
            assert!(hits(self::operation(operation)).is_empty(), "{fault:?}");
        }
    }
}
