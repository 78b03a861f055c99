//! The way to one server: calls out, answers back, through reconnections; the retry policy of a mount.
//!
//! Any number of calls are out at once on one connection. A call is sent again only on a new connection, never
//! twice on the same one. While calls are out and nothing is heard, the line is tested: first a NULL on the same
//! connection, then a second connection; only if that one answers and the first does not is the first given up,
//! so a slow server is never asked twice and a cut network heals at once. A hard mount's call waits for ever; a
//! soft mount's ends after its patience. "Not responding" and "OK" are told once each, as the kernel does.
//!
//! It connects from any port, not from a privileged one, and asks the name service again at every connection,
//! which is kinder than the kernel when a server comes back at another address.
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use nfs3_types::{
    rpc::auth_unix,
    xdr_codec::{Pack, Unpack, Void},
};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use crate::nfs::wire::{self, ReplyError};

/// Silence after which the line is tested.
const SILENCE: Duration = Duration::from_secs(3);
/// How long a test of the line, or a connection, may take.
const PROBE: Duration = Duration::from_secs(3);
/// Pauses between tries to connect: from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A soft mount's patience is at its end.
    #[error("the server did not answer in {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The answer is none.
    #[error("the server's answer is no answer")]
    Reply(#[from] ReplyError),
    /// The mount is being taken down.
    #[error("the mount is being taken down")]
    Closed,
}

struct Out {
    record: Arc<Vec<u8>>,
    is_sent: bool,
    answer: Option<oneshot::Sender<Vec<u8>>>,
}

struct Line {
    host: String,
    port: u16,
    calls: Mutex<BTreeMap<u32, Out>>,
    /// Something new is to be sent.
    fresh: Notify,
    /// Records heard, ever.
    heard: AtomicU64,
    is_silent: AtomicBool,
    xid: AtomicU32,
    program: (u32, u32),
}

/// The way to one program of a server. Dropping it closes the connection.
pub struct Transport {
    line: Arc<Line>,
    patience: Option<Duration>,
    grumble: Duration,
    keeper: JoinHandle<()>,
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Transport {
    /// A way to `program` (number and version) at this place; it connects with the first call.
    ///
    /// `patience` is how long a call may take, `None` for ever; `grumble` how long until the silence is told.
    pub fn new(
        host: &str,
        port: u16,
        program: (u32, u32),
        patience: Option<Duration>,
        grumble: Duration,
    ) -> Self {
        let line = Arc::new(Line {
            host: host.to_owned(),
            port,
            calls: Mutex::default(),
            fresh: Notify::new(),
            heard: AtomicU64::new(0),
            is_silent: AtomicBool::new(false),
            xid: AtomicU32::new(first_xid()),
            program,
        });
        let keeper = tokio::spawn(line.clone().keep());
        Self { line, patience, grumble, keeper }
    }
    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::TimedOut`] only with a patience.
    /// # Cancellation
    /// The call may be carried out all the same.
    pub async fn call<A: Pack, R: Unpack>(
        &self,
        procedure: u32,
        auth: &auth_unix,
        arguments: &A,
    ) -> Result<R, CallError> {
        let (xid, answer) = self.line.send(procedure, auth, arguments);
        let mut out = Waiting { line: &self.line, xid, answer };
        let mut waited = Duration::ZERO;
        let record = loop {
            let left = self
                .patience
                .map_or(self.grumble, |patience| patience.saturating_sub(waited).min(self.grumble));
            match tokio::time::timeout(left, &mut out.answer).await {
                Ok(Ok(record)) => break record,
                Ok(Err(_)) => return Err(CallError::Closed),
                Err(_) => waited += left,
            }
            let is_over = self.patience.is_some_and(|patience| waited >= patience);
            if !self.line.is_silent.swap(true, Ordering::Relaxed) {
                let end = if is_over { "timed out" } else { "still trying" };
                tracing::warn!("nfs: server {} not responding, {end}", self.line.host);
            }
            if is_over {
                return Err(CallError::TimedOut(waited));
            }
        };
        if self.line.is_silent.swap(false, Ordering::Relaxed) {
            tracing::warn!("nfs: server {} OK", self.line.host);
        }
        Ok(wire::result(&record)?)
    }
}

/// A call that somebody waits for; taken off the list when nobody does any more.
struct Waiting<'a> {
    line: &'a Line,
    xid: u32,
    answer: oneshot::Receiver<Vec<u8>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.line.calls().remove(&self.xid);
    }
}

/// Where numbering begins: two mounts, and two runs, must not use the same numbers for different calls.
fn first_xid() -> u32 {
    let mut bytes = [0; 4];
    let read =
        std::fs::File::open("/dev/urandom").and_then(|mut file| io::Read::read_exact(&mut file, &mut bytes));
    // Without randomness the process's number is still its own.
    if read.is_ok() { u32::from_be_bytes(bytes) } else { std::process::id() << 16 }
}

impl Line {
    fn calls(&self) -> MutexGuard<'_, BTreeMap<u32, Out>> {
        self.calls.lock().expect("no holder of the calls' lock panics")
    }
    fn send<A: Pack>(
        &self,
        procedure: u32,
        auth: &auth_unix,
        arguments: &A,
    ) -> (u32, oneshot::Receiver<Vec<u8>>) {
        let xid = self.xid.fetch_add(1, Ordering::Relaxed);
        let record = Arc::new(wire::call(xid, self.program, procedure, auth, arguments));
        let (sender, receiver) = oneshot::channel();
        self.calls().insert(xid, Out { record, is_sent: false, answer: Some(sender) });
        self.fresh.notify_one();
        (xid, receiver)
    }
    fn is_idle(&self) -> bool {
        self.calls().is_empty()
    }
    /// The records that are to be sent, in the order of their numbers; all of them on a new connection.
    fn unsent(&self, is_new_connection: bool) -> Vec<Arc<Vec<u8>>> {
        let mut calls = self.calls();
        let due = calls.values_mut().filter(|out| is_new_connection || !out.is_sent);
        due.map(|out| {
            out.is_sent = true;
            out.record.clone()
        })
        .collect()
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = tokio::time::timeout(PROBE, connecting).await.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
    /// Connects and has a NULL answered: somebody is at home.
    async fn probe(&self) -> io::Result<TcpStream> {
        let mut stream = self.connect().await?;
        let xid = self.xid.fetch_add(1, Ordering::Relaxed);
        stream.write_all(&wire::call(xid, self.program, 0, &auth_unix::default(), &Void)).await?;
        match tokio::time::timeout(PROBE, wire::read_record(&mut stream)).await {
            Ok(Ok(Some(_))) => Ok(stream),
            Ok(Ok(None)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Keeps a connection while there is something to say.
    async fn keep(self: Arc<Self>) {
        let mut next = None;
        let mut pause = PAUSES.0;
        loop {
            while self.is_idle() {
                self.fresh.notified().await;
            }
            let stream = match next.take() {
                Some(stream) => Ok(stream),
                None => self.connect().await,
            };
            match stream {
                Ok(stream) => {
                    let heard = self.heard.load(Ordering::Relaxed);
                    next = self.talk(stream).await;
                    if self.heard.load(Ordering::Relaxed) != heard {
                        pause = PAUSES.0;
                    }
                }
                Err(error) => tracing::debug!(%error, host = self.host, "cannot connect"),
            }
            if next.is_none() && !self.is_idle() {
                // Somebody new asks: a soft mount's patience may be shorter than the pause.
                let _ = tokio::time::timeout(pause, self.fresh.notified()).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
    /// Sends and listens until the connection ends, or is given up for a better one, which is returned.
    async fn talk(&self, stream: TcpStream) -> Option<TcpStream> {
        let (mut reader, mut writer) = stream.into_split();
        let listening = async {
            while let Ok(Some(record)) = wire::read_record(&mut reader).await {
                self.heard.fetch_add(1, Ordering::Relaxed);
                let waiting = wire::xid_of(&record).and_then(|xid| self.calls().remove(&xid));
                if let Some(answer) = waiting.and_then(|out| out.answer) {
                    // Nobody waits any more: the call was given up.
                    let _ = answer.send(record);
                }
            }
        };
        let sending = async {
            let mut is_new_connection = true;
            loop {
                for record in self.unsent(is_new_connection) {
                    if writer.write_all(&record).await.is_err() {
                        return;
                    }
                }
                is_new_connection = false;
                self.fresh.notified().await;
            }
        };
        tokio::select! {
            biased;
            () = listening => None,
            () = sending => None,
            better = self.test() => Some(better),
        }
    }
    /// Ends when the connection in use is silent and another one is not.
    async fn test(&self) -> TcpStream {
        loop {
            let heard = self.heard.load(Ordering::Relaxed);
            tokio::time::sleep(SILENCE).await;
            if self.is_idle() || self.heard.load(Ordering::Relaxed) != heard {
                continue;
            }
            // A slow server answers this one although it is not done with the others.
            let (xid, answer) = self.send(0, &auth_unix::default(), &Void);
            let _waiting = Waiting { line: self, xid, answer };
            tokio::time::sleep(PROBE).await;
            if self.heard.load(Ordering::Relaxed) != heard {
                continue;
            }
            match self.probe().await {
                Ok(stream) if self.heard.load(Ordering::Relaxed) == heard => return stream,
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, host = self.host, "no better connection"),
            }
        }
    }
}
