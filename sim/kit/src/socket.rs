//! A control socket: one JSON line asked, one JSON line answered, on a Unix socket.
//!
//! The answer is `{"ok": …}` or `{"error": "…"}`. A connection may ask again and again. The socket's file is
//! made anew at start, so that a server that was killed can come back.
use std::{
    io::{self, BufRead as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer<T> {
    Ok(T),
    Error(String),
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing was heard.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No server at the socket.
    #[error("no server listens at {path}; is it running, and was it started with this --control?")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The server went away or did not answer in time.
    #[error("the server at {path} did not answer within {} s", PATIENCE.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The two programs are not of one version.
    #[error("the server's answer cannot be read: the two programs are not of one version")]
    Garbled(#[source] serde_json::Error),
    /// It answered an error.
    #[error("{0}")]
    Refused(String),
}

/// Listens and answers until the process ends.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve<Q, A, F>(path: &Path, answer: F) -> io::Result<()>
where
    Q: DeserializeOwned,
    A: Serialize,
    F: Fn(Q) -> Result<A, String> + Clone + Send + Sync + 'static,
{
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let (reader, mut writer) = stream.into_split();
                let mut lines = tokio::io::BufReader::new(reader).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let answer = answer.clone();
                    let answered = tokio::task::spawn_blocking(move || {
                        let answer = match serde_json::from_str(&line) {
                            Ok(question) => answer(question).map_or_else(Answer::Error, Answer::Ok),
                            Err(error) => Answer::Error(format!("the question cannot be read: {error}")),
                        };
                        serde_json::to_string(&answer).unwrap_or_else(|error| error.to_string())
                    });
                    let Ok(answered) = answered.await else { return };
                    if writer.write_all(format!("{answered}\n").as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(())
}

/// Asks one question.
pub fn ask<A: DeserializeOwned>(path: &Path, question: &impl Serialize) -> Result<A, AskError> {
    let mut stream =
        UnixStream::connect(path).map_err(|source| AskError::Connect { path: path.to_owned(), source })?;
    let silent = |source| AskError::Silent { path: path.to_owned(), source };
    let line = serde_json::to_string(question).map_err(AskError::Garbled)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(silent)?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(silent)?;
    let mut answer = String::new();
    let heard = io::BufReader::new(stream).read_line(&mut answer).map_err(silent)?;
    if heard == 0 {
        return Err(silent(io::ErrorKind::UnexpectedEof.into()));
    }
    match serde_json::from_str(&answer).map_err(AskError::Garbled)? {
        Answer::Ok(answer) => Ok(answer),
        Answer::Error(why) => Err(AskError::Refused(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_is_answered_or_refused_and_a_socket_left_behind_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run/ctl.sock");
        let half = |number: u32| {
            if number.is_multiple_of(2) { Ok(number / 2) } else { Err(format!("{number} is odd")) }
        };
        serve(&path, half).unwrap();
        serve(&path, half).unwrap();
        let asked = tokio::task::spawn_blocking(move || {
            assert_eq!(ask::<u32>(&path, &4).unwrap(), 2);
            assert_eq!(ask::<u32>(&path, &3).unwrap_err().to_string(), "3 is odd");
            assert!(ask::<u32>(&path, &"four").unwrap_err().to_string().contains("cannot be read"));
            assert!(matches!(ask::<u32>(Path::new("/nowhere"), &4), Err(AskError::Connect { .. })));
        });
        asked.await.unwrap();
    }
}
