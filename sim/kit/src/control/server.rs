//! Answers on a control socket, and asks on one.
use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use fault::{Event, Id, Register};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

use super::{Armed, Reply, Request};

/// How long a client waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How many firings of a fault are shown word for word.
const FIRINGS_SHOWN: usize = 100;

/// The faults of a double, as its control socket sees them.
#[derive(Clone)]
pub struct Faults {
    register: Register,
    armed: Arc<Mutex<Vec<Id>>>,
}

impl Faults {
    /// The faults of a register; what happens to them is logged as lines of JSON by `tell`.
    pub fn new(register: Register, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        register.observe(Arc::new(move |event: &Event| {
            tell(&serde_json::to_string(event).expect("events are plain data"));
        }));
        Self { register, armed: Arc::default() }
    }
    /// The register.
    pub fn register(&self) -> &Register {
        &self.register
    }
    /// Answers what concerns faults alone; `None` for the rest.
    pub fn answer(&self, request: &Request) -> Option<Reply> {
        let mut armed = self.armed.lock().expect("no holder of the list's lock panics");
        Some(match request {
            Request::Arm(fault) => {
                let id = self.register.arm(fault.clone());
                armed.push(id);
                Reply::Armed(id.0)
            }
            Request::Lift(id) => {
                if !armed.contains(&Id(*id)) {
                    return Some(Reply::Refused(format!(
                        "no fault has the number {id}; list them with `faults`"
                    )));
                }
                self.register.lift(Id(*id));
                Reply::Done(1)
            }
            Request::LiftNamed(name) => Reply::Done(self.register.lift_named(name) as u64),
            Request::LiftAll => {
                let count = self.register.armed().len() as u64;
                self.register.lift_all();
                Reply::Done(count)
            }
            Request::Faults => Reply::Faults(armed.iter().filter_map(|id| self.shown(*id)).collect()),
            _ => return None,
        })
    }

    fn shown(&self, id: Id) -> Option<Armed> {
        let fired = self.register.fired(id);
        let last = fired.iter().rev().take(FIRINGS_SHOWN).rev();
        Some(Armed {
            id: id.0,
            fault: self.register.fault(id)?,
            firings: self.register.firings(id),
            is_over: self.register.is_over(id),
            fired: last.map(|firing| format!("{} {}", firing.point, firing.verdict)).collect(),
        })
    }
}

/// Serves a control socket until the end of the process; `answer` may wait.
///
/// # Errors
/// The socket could not be made. A client's nonsense is answered, and ends only its own conversation.
pub async fn serve<F, A>(path: PathBuf, answer: F) -> io::Result<()>
where
    F: Fn(Request) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Reply> + Send + 'static,
{
    let listener = bind(&path)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let answer = answer.clone();
        tokio::spawn(async move {
            let (input, mut output) = stream.into_split();
            let mut lines = tokio::io::BufReader::new(input).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let reply = match serde_json::from_str(&line) {
                    Ok(request) => answer(request).await,
                    Err(error) => Reply::Refused(format!("not a request: {error}")),
                };
                let mut text = serde_json::to_vec(&reply).expect("replies are plain data");
                text.push(b'\n');
                if output.write_all(&text).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// Binds a Unix socket in the place of a dead one, its folder made where it is missing.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

/// Asks once.
pub fn ask(socket: &Path, request: &Request) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut text = serde_json::to_vec(request).expect("requests are plain data");
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
