//! What stands between one Job and a store: faults on the way, cost, and a witness.
//!
//! Every operation is numbered as a point, asks the register, pays the meter's debt, is carried out and
//! told to the witness, in this order. It changes nothing else: without faults, cost and witness it is the
//! store behind it.
use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use engine::store::{Error, ErrorKind, Metadata, SharedStore, Store};
use fault::{Register, Seam, Verdict};

use crate::cost::{Meter, Rate};

/// One operation on a store, as the witness is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The store's name.
    pub store: String,
    /// Who asked.
    pub actor: String,
    /// `get`, `put`, `list`, `stat`, `delete`.
    pub operation: &'static str,
    /// The blob or the listed prefix.
    pub id: String,
    /// Bytes moved.
    pub bytes: u64,
    /// How it failed; empty when it did not.
    pub error: String,
}

/// Is told each operation after it was answered.
pub type Witness = Arc<dyn Fn(&Operation) + Send + Sync>;

/// A store as one actor reaches it.
pub struct FaultyStore {
    inner: SharedStore,
    name: String,
    actor: String,
    register: Register,
    meter: Option<(Meter, Rate)>,
    witness: Option<Witness>,
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({} for {})", self.name, self.actor)
    }
}

impl FaultyStore {
    /// Puts the register in front of a store.
    pub fn new(
        inner: SharedStore,
        name: impl Into<String>,
        actor: impl Into<String>,
        register: Register,
    ) -> Self {
        Self { inner, name: name.into(), actor: actor.into(), register, meter: None, witness: None }
    }
    /// Charges each operation, and pays the meter's whole debt there.
    #[must_use]
    pub fn meter(mut self, meter: Meter, rate: Rate) -> Self {
        self.meter = Some((meter, rate));
        self
    }
    /// Tells each operation.
    #[must_use]
    pub fn witness(mut self, witness: Witness) -> Self {
        self.witness = Some(witness);
        self
    }
    /// As the engine takes it.
    pub fn shared(self) -> SharedStore {
        Arc::new(self)
    }

    /// Asks and pays; `Err` when the operation is over already.
    async fn begin(&self, operation: &'static str, id: &str, bytes: u64) -> Result<Verdict, Error> {
        let class = format!("{}/{}", self.name, blob_class(id));
        let (_, verdict) = self.register.pass(Seam::Store, &self.actor, operation, &class).await;
        match &verdict {
            Verdict::Fail { code, message } => {
                return Err(Error::new(kind(code), operation, id, message.as_str()));
            }
            // SIGKILL: the process never hears the answer; who runs it drops this future.
            Verdict::Kill(9) => std::future::pending::<()>().await,
            _ => {}
        }
        self.pay(bytes).await;
        Ok(verdict)
    }
    async fn pay(&self, bytes: u64) {
        if let Some((meter, rate)) = &self.meter {
            meter.charge_request(*rate, bytes);
            meter.settle().await;
        }
    }
    fn tell<T>(
        &self,
        operation: &'static str,
        id: &str,
        bytes: u64,
        answer: Result<T, Error>,
    ) -> Result<T, Error> {
        if let Some(witness) = &self.witness {
            let error = answer.as_ref().err().map_or_else(String::new, |error| error.detail.clone());
            witness(&Operation {
                store: self.name.clone(),
                actor: self.actor.clone(),
                operation,
                id: id.to_owned(),
                bytes,
                error,
            });
        }
        answer
    }
    async fn write(&self, id: &str, bytes: Bytes, only_new: bool) -> Result<(), Error> {
        let bytes = match self.begin("put", id, bytes.len() as u64).await? {
            Verdict::Swallow => return Ok(()),
            Verdict::Corrupt(_) => flipped(&bytes),
            _ => bytes,
        };
        if only_new { self.inner.put_new(id, bytes).await } else { self.inner.put(id, bytes).await }
    }
}

/// The class of a blob for points: what stands before the digits of its name.
pub fn blob_class(id: &str) -> &str {
    if id.starts_with("kopia.") {
        return id;
    }
    if let Some(rest) = id.strip_prefix('_') {
        return &id[..=rest.find('_').unwrap_or(rest.len().min(3))];
    }
    let width = if id.starts_with('x') { 2 } else { 1 };
    id.get(..width).unwrap_or(id)
}

fn kind(code: &str) -> ErrorKind {
    match code {
        "404" => ErrorKind::NotFound,
        "401" | "403" | "EACCES" | "EPERM" => ErrorKind::Denied,
        "507" | "ENOSPC" | "EDQUOT" => ErrorKind::NoSpace,
        "ESTALE" => ErrorKind::Stale,
        "EIO" => ErrorKind::Io,
        _ => ErrorKind::Unavailable,
    }
}

fn flipped(bytes: &Bytes) -> Bytes {
    let mut altered = bytes.to_vec();
    let middle = altered.len() / 2;
    if let Some(byte) = altered.get_mut(middle) {
        *byte ^= 1;
    }
    altered.into()
}

#[async_trait::async_trait]
impl Store for FaultyStore {
    async fn get(&self, id: &str, range: Option<Range<u64>>) -> Result<Bytes, Error> {
        let answer = match self.begin("get", id, 0).await {
            Err(error) => Err(error),
            Ok(verdict) => match (self.inner.get(id, range).await, verdict) {
                (Ok(bytes), Verdict::Corrupt(_)) => Ok(flipped(&bytes)),
                (answer, _) => answer,
            },
        };
        if let (Ok(bytes), Some((meter, rate))) = (&answer, &self.meter) {
            meter.charge(*rate, 0, bytes.len() as u64);
            meter.settle().await;
        }
        let bytes = answer.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.tell("get", id, bytes, answer)
    }
    async fn put(&self, id: &str, bytes: Bytes) -> Result<(), Error> {
        let length = bytes.len() as u64;
        let answer = self.write(id, bytes, false).await;
        self.tell("put", id, length, answer)
    }
    async fn put_new(&self, id: &str, bytes: Bytes) -> Result<(), Error> {
        let length = bytes.len() as u64;
        let answer = self.write(id, bytes, true).await;
        self.tell("put", id, length, answer)
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Metadata>, Error> {
        let answer = match self.begin("list", prefix, 0).await {
            Err(error) => Err(error),
            Ok(_) => self.inner.list(prefix).await,
        };
        self.tell("list", prefix, 0, answer)
    }
    async fn stat(&self, id: &str) -> Result<Metadata, Error> {
        let answer = match self.begin("stat", id, 0).await {
            Err(error) => Err(error),
            Ok(_) => self.inner.stat(id).await,
        };
        self.tell("stat", id, 0, answer)
    }
    async fn delete(&self, id: &str) -> Result<(), Error> {
        let answer = match self.begin("delete", id, 0).await {
            Err(error) => Err(error),
            Ok(Verdict::Swallow) => Ok(()),
            Ok(_) => self.inner.delete(id).await,
        };
        self.tell("delete", id, 0, answer)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use fault::{Aim, process, store};
    use jiff::Timestamp;

    use super::*;
    use crate::bucket::Bucket;

    fn reach(register: &Register) -> (Bucket, FaultyStore) {
        let bucket = Bucket::new("main", Arc::new(|| Timestamp::UNIX_EPOCH), register.clone());
        let store = FaultyStore::new(bucket.view(""), "main", "volsync-src-app", register.clone());
        (bucket, store)
    }

    #[test]
    fn blobs_fall_into_classes() {
        for (id, expected) in [
            ("p0d4718", "p"),
            ("q9", "q"),
            ("xn0_a6f0", "xn"),
            ("xw123", "xw"),
            ("_log_2026", "_log"),
            ("kopia.repository", "kopia.repository"),
            ("s1", "s"),
            ("", ""),
        ] {
            assert_eq!(blob_class(id), expected, "{id}");
        }
    }

    #[tokio::test]
    async fn an_unavailable_store_says_so_in_every_method_until_the_lift() {
        let register = Register::new(1);
        let (_, store) = reach(&register);
        store.put("p1", Bytes::from_static(b"x")).await.unwrap();
        let id = register.arm(store::unavailable::Spec::default());
        let failures = [
            store.get("p1", None).await.err(),
            store.put("p2", Bytes::new()).await.err(),
            store.put_new("p2", Bytes::new()).await.err(),
            store.list("").await.err(),
            store.stat("p1").await.err(),
            store.delete("p1").await.err(),
        ];
        assert!(failures.iter().flatten().all(|error| error.kind == ErrorKind::Unavailable));
        assert_eq!((failures.iter().flatten().count(), register.firings(id)), (6, 6));
        register.lift(id);
        assert_eq!(store.get("p1", None).await.unwrap(), "x");
    }

    #[tokio::test(start_paused = true)]
    async fn operations_take_time_and_are_witnessed() {
        let register = Register::new(1);
        let (_, store) = reach(&register);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let store = store
            .meter(Meter::new(1), Rate::BUCKET)
            .witness(Arc::new(move |operation| sink.lock().unwrap().push(operation.clone())));
        let begin = tokio::time::Instant::now();
        store.put("p1", vec![7; 60_000_000].into()).await.unwrap();
        let took = begin.elapsed();
        assert!((Duration::from_millis(1009)..=Duration::from_millis(1015)).contains(&took), "{took:?}");
        store.get("p1", None).await.unwrap();
        assert!(begin.elapsed() >= took + Duration::from_secs(1), "reading moves the bytes too");
        assert!(store.get("p2", None).await.is_err());
        let seen = seen.lock().unwrap();
        let told: Vec<_> =
            seen.iter().map(|o| (o.operation, o.id.as_str(), o.bytes, o.error.is_empty())).collect();
        assert_eq!(
            told,
            [("put", "p1", 60_000_000, true), ("get", "p1", 60_000_000, true), ("get", "p2", 0, false)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_killed_process_never_hears_the_answer() {
        let register = Register::new(1);
        let (bucket, store) = reach(&register);
        register.arm(process::oom_kill::Spec { aim: Aim::class("*/p"), ..Default::default() });
        let put =
            tokio::time::timeout(Duration::from_hours(1), store.put("p1", Bytes::from_static(b"x"))).await;
        assert!(put.is_err());
        assert_eq!(register.killed("volsync-src-app").await, 9);
        assert!(bucket.objects().is_empty());
    }
}
