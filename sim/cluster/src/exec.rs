//! Commands, files and logs of a running container.
//!
//! Everything goes through the engine's API, also with an engine on another machine. Standard input is streamed and
//! closed, so that `cat >file` and a stream of gigabytes both end.

use std::{fmt, path::Path, pin::Pin};

use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture};
use testcontainers::bollard::{
    Docker, body_full, body_try_stream,
    container::LogOutput,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
    query_parameters::{
        DownloadFromContainerOptionsBuilder, LogsOptionsBuilder, UploadToContainerOptionsBuilder,
    },
};
use tokio::io::{AsyncRead, AsyncWriteExt};

use crate::Error;

/// A command for a running container.
pub struct Command {
    words: Vec<String>,
    environment: Vec<String>,
    user: Option<String>,
    input: Option<Pin<Box<dyn AsyncRead + Send>>>,
}

impl Command {
    /// The program and its arguments; no shell is involved.
    pub fn new<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Self {
        let words = words.into_iter().map(Into::into).collect();
        Self { words, environment: Vec::new(), user: None, input: None }
    }

    /// A script for `sh -euc`.
    pub fn script(text: impl Into<String>) -> Self {
        Self::new(["sh".to_owned(), "-euc".to_owned(), text.into()])
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push(format!("{name}={value}"));
        self
    }

    /// Runs as another user, such as `1000:1000`.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Gives it these bytes on standard input, then the end.
    #[must_use]
    pub fn input(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input_from(std::io::Cursor::new(bytes.into()))
    }

    /// Streams standard input from a reader until its end.
    #[must_use]
    pub fn input_from(mut self, reader: impl AsyncRead + Send + 'static) -> Self {
        self.input = Some(Box::pin(reader));
        self
    }

    fn shown(&self) -> String {
        let mut shown = self.words.join(" ");
        if shown.len() > 200 {
            let cut = shown.floor_char_boundary(200);
            shown.truncate(cut);
            shown.push('…');
        }
        shown
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// What a command said and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Exit code.
    pub code: i64,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The end of what was said, standard error last.
    pub fn tail(&self) -> String {
        let said = format!("{}\n{}", self.text(), String::from_utf8_lossy(&self.stderr));
        let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(12)..].join(" | ")
    }
}

/// Runs a command in a container; an exit code is an answer, not an error.
pub fn exec<'a>(
    docker: &'a Docker,
    container: &'a str,
    command: Command,
) -> BoxFuture<'a, Result<Output, Error>> {
    Box::pin(async move {
        let doing = format!("run `{command:?}` in {container}");
        let options = CreateExecOptions {
            attach_stdin: Some(command.input.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            env: Some(command.environment.clone()),
            cmd: Some(command.words.clone()),
            user: command.user.clone(),
            ..Default::default()
        };
        let created = docker.create_exec(container, options).await.map_err(Error::docker(doing.clone()))?;
        let started = docker
            .start_exec(
                &created.id,
                Some(StartExecOptions { detach: false, tty: false, output_capacity: Some(1 << 20) }),
            )
            .await
            .map_err(Error::docker(doing.clone()))?;
        let StartExecResults::Attached { mut output, mut input } = started else {
            return Err(Error::Unreadable { what: doing, detail: "the engine detached".to_owned() });
        };
        let feed = async move {
            if let Some(mut reader) = command.input {
                // A command may end before it has read everything; its exit code tells.
                let _ = tokio::io::copy(&mut reader, &mut input).await;
                let _ = input.shutdown().await;
            }
            input // kept: dropping it early would close the connection the answer comes on
        };
        let collect = async {
            let mut said = Output::default();
            while let Some(piece) = output.next().await {
                match piece.map_err(Error::docker(doing.clone()))? {
                    LogOutput::StdErr { message } => said.stderr.extend_from_slice(&message),
                    LogOutput::StdOut { message } | LogOutput::Console { message } => {
                        said.stdout.extend_from_slice(&message);
                    }
                    LogOutput::StdIn { .. } => {}
                }
            }
            Ok::<_, Error>(said)
        };
        let mut said = {
            let feed = std::pin::pin!(feed);
            let collect = std::pin::pin!(collect);
            match futures::future::select(collect, feed).await {
                futures::future::Either::Left((said, _)) => said?,
                futures::future::Either::Right((_input, collect)) => collect.await?,
            }
        };
        let seen = docker.inspect_exec(&created.id).await.map_err(Error::docker(doing.clone()))?;
        said.code = seen.exit_code.unwrap_or(-1);
        Ok(said)
    })
}

/// Runs a command in a container; any exit code but 0 is an error that shows the end of its output.
pub async fn exec_ok(docker: &Docker, container: &str, command: Command) -> Result<Output, Error> {
    let shown = command.shown();
    let output = exec(docker, container, command).await?;
    if output.code == 0 {
        return Ok(output);
    }
    Err(Error::Command {
        container: container.to_owned(),
        command: shown,
        code: output.code,
        output: output.tail(),
    })
}

/// Writes one file into a container.
///
/// # Caveats
/// The engine writes below mounts of kind tmpfs (`/tmp` and `/run` of a node): use other directories.
pub async fn write(
    docker: &Docker,
    container: &str,
    path: &str,
    bytes: &[u8],
    mode: u32,
) -> Result<(), Error> {
    place(docker, container, path, tar::EntryType::Regular, bytes, mode).await
}

/// Makes one directory in a container; what is above it must be there. It needs no program in the container.
pub async fn make_directory(docker: &Docker, container: &str, path: &str, mode: u32) -> Result<(), Error> {
    place(docker, container, path, tar::EntryType::Directory, &[], mode).await
}

async fn place(
    docker: &Docker,
    container: &str,
    path: &str,
    kind: tar::EntryType,
    bytes: &[u8],
    mode: u32,
) -> Result<(), Error> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("/", path));
    let above = if above.is_empty() { "/" } else { above };
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_mtime(1);
    let mut archive = tar::Builder::new(Vec::new());
    let packed = archive.append_data(&mut header, name, bytes).and_then(|()| archive.into_inner());
    let packed = packed.map_err(Error::file("pack", path))?;
    let options = UploadToContainerOptionsBuilder::new().path(above).build();
    docker
        .upload_to_container(container, Some(options), body_full(Bytes::from(packed)))
        .await
        .map_err(Error::docker(format!("write {path} in {container}")))
}

/// Streams a local file into a container under a name.
pub async fn upload(
    docker: &Docker,
    container: &str,
    from: &Path,
    directory: &str,
    name: &str,
) -> Result<(), Error> {
    let file = tokio::fs::File::open(from).await.map_err(Error::file("open", from))?;
    let length = file.metadata().await.map_err(Error::file("look at", from))?.len();
    let mut header = tar::Header::new_gnu();
    header.set_path(name).map_err(Error::file("pack", from))?;
    header.set_size(length);
    header.set_mode(0o644);
    header.set_mtime(1);
    header.set_cksum();
    let head = Bytes::copy_from_slice(header.as_bytes());
    let padding = (512 - (length % 512) as usize) % 512 + 1024; // to a whole record, and the two that end an archive
    let body = futures::stream::once(async move { Ok(head) })
        .chain(pieces(file))
        .chain(futures::stream::once(async move { Ok(Bytes::from(vec![0; padding])) }));
    let options = UploadToContainerOptionsBuilder::new().path(directory).build();
    docker
        .upload_to_container(container, Some(options), body_try_stream(body))
        .await
        .map_err(Error::docker(format!("copy {} into {container}", from.display())))
}

/// The bytes of a file, in pieces of a quarter of a megabyte.
pub(crate) fn pieces(
    file: tokio::fs::File,
) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    futures::stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; 256 << 10];
        let read = tokio::io::AsyncReadExt::read(&mut file, &mut piece).await?;
        piece.truncate(read);
        Ok((read > 0).then(|| (Bytes::from(piece), file)))
    })
}

/// Reads one file of a container.
pub async fn read(docker: &Docker, container: &str, path: &str) -> Result<Vec<u8>, Error> {
    let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
    let mut stream = docker.download_from_container(container, Some(options));
    let mut archive = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(Error::docker(format!("read {path} in {container}")))?;
        archive.extend_from_slice(&piece);
    }
    let unreadable = |detail: String| Error::Unreadable { what: format!("{path} of {container}"), detail };
    let mut archive = tar::Archive::new(archive.as_slice());
    for entry in archive.entries().map_err(|error| unreadable(error.to_string()))? {
        let mut entry = entry.map_err(|error| unreadable(error.to_string()))?;
        if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes)
                .map_err(|error| unreadable(error.to_string()))?;
            return Ok(bytes);
        }
    }
    Err(unreadable("it is not a plain file".to_owned()))
}

/// What a container's first process has printed, both streams in the order they came.
pub async fn logs(docker: &Docker, container: &str) -> Result<String, Error> {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("all").build();
    let mut stream = docker.logs(container, Some(options));
    let mut text = String::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(Error::docker(format!("read the log of {container}")))?;
        text.push_str(&String::from_utf8_lossy(&piece.into_bytes()));
    }
    Ok(text)
}
