//! A hand in a pod: `hand write DIR < stream` plants a tree, `hand read DIR > stream` sends one; `hand wait`
//! keeps the pod until then.
//!
//! `write` takes a stream of [`crate::tree_stream`], plants it, syncs the file system and prints one line of
//! JSON about what it did; an error of the final sync is an error of the program. `read` sends the whole tree;
//! trouble on the way is told in the stream too, so that the other end knows the reason. Neither follows
//! symlinks nor leaves the directory. Nothing is compared here: an oracle does that with what was read.
use std::{
    fs::File,
    io::{self, BufReader, BufWriter, IsTerminal as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Subcommand;
use serde::Serialize;

use crate::{
    directory::{Directory, Error, Planter},
    tree_stream::{Item, Node, Reader, Scope, Summary, Writer},
};

/// What the command line says.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Plants the tree that comes on standard input
    Write(Write),
    /// Sends a tree to standard output
    Read(Read),
    /// Makes a directory, with those above it; one that is there is fine
    Make(Make),
    /// Does nothing until it is killed: what a pod runs whose hand is used from outside
    Wait,
}

#[derive(clap::Args, Debug)]
struct Make {
    /// The directory
    directory: PathBuf,
}

#[derive(clap::Args, Debug)]
struct Write {
    /// The directory
    directory: PathBuf,
    /// List what may not be set (owners, devices, attributes) instead of failing
    #[arg(long)]
    lenient: bool,
    /// Do not sync at the end
    #[arg(long)]
    no_sync: bool,
}

#[derive(clap::Args, Debug)]
struct Read {
    /// The directory
    directory: PathBuf,
    /// Ask the kernel to forget cached pages of each file before it is read
    #[arg(long)]
    uncached: bool,
}

/// What `hand write` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// What the stream held.
    pub received: Summary,
    /// What could not be given to an entry; only with `--lenient`.
    pub left_out: Vec<String>,
}

/// Runs it.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Write(args) => {
            let directory = opened(&args.directory)?;
            let written = write(&directory, BufReader::new(io::stdin().lock()), args.lenient, !args.no_sync)?;
            println!("{}", serde_json::to_string(&written)?);
        }
        Action::Read(args) => {
            anyhow::ensure!(
                !io::stdout().is_terminal(),
                "a tree stream is no text for a terminal: redirect it"
            );
            let directory = opened(&args.directory)?;
            let summary = read(&directory, io::stdout().lock(), args.uncached)?;
            eprintln!("{}", serde_json::to_string(&summary)?);
        }
        Action::Make(args) => std::fs::create_dir_all(&args.directory)
            .map_err(|error| anyhow::anyhow!("cannot make {}: {error}", args.directory.display()))?,
        Action::Wait => loop {
            std::thread::park();
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn opened(path: &std::path::Path) -> anyhow::Result<Directory> {
    Directory::open(path)
        .map_err(|error| anyhow::anyhow!("cannot open {} as a directory: {error}", path.display()))
}

/// Plants a stream into a directory.
///
/// # Errors
/// Trouble of the stream, of the file system, or of the final sync. What was planted until then stays.
pub fn write(
    directory: &Directory,
    input: impl io::BufRead,
    lenient: bool,
    sync: bool,
) -> Result<Written, Error> {
    let mut reader = Reader::new(input)?;
    let mut planter = Planter::new(directory).lenient(lenient);
    if reader.scope() == Scope::Whole {
        planter.remove(&crate::tree_stream::Raw::default())?;
    }
    while let Some(item) = reader.next()? {
        match item {
            Item::Remove(path) => planter.remove(&path)?,
            Item::Put(entry) => planter.put(&entry, |file| fill(&mut reader, &entry, file))?,
        }
    }
    let left_out = planter.finish()?;
    if sync {
        let synced = rustix::fs::syncfs(directory.handle());
        synced.map_err(|error| Error::At { doing: "sync", path: ".".to_owned(), source: error.into() })?;
    }
    let received = reader.summary().cloned().unwrap_or(Summary { items: 0, bytes: 0, sha256: String::new() });
    Ok(Written { received, left_out })
}

fn fill<R: io::BufRead>(
    reader: &mut Reader<R>,
    entry: &crate::tree_stream::Entry,
    file: &mut File,
) -> Result<(), Error> {
    let Node::File { extents, .. } = &entry.node else { return Ok(()) };
    let failed = |source| Error::At { doing: "write", path: entry.path.to_string(), source };
    let mut buffer = vec![0; 64 << 10];
    for extent in extents {
        file.seek(SeekFrom::Start(extent.at)).map_err(failed)?;
        let mut left = extent.length;
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = reader.data(&mut buffer[..room])?;
            file.write_all(&buffer[..read]).map_err(failed)?;
            left -= read as u64;
        }
    }
    Ok(())
}

/// Sends a directory as a stream.
///
/// # Errors
/// Trouble of the file system, which is also told in the stream, or of the output.
pub fn read(directory: &Directory, output: impl io::Write, uncached: bool) -> Result<Summary, Error> {
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, output), Scope::Whole)?;
    let walk = directory.walk(&mut |entry, file| {
        let Some(file) = file else { return Ok(writer.put(entry, io::empty())?) };
        if uncached {
            let advice = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
            advice.map_err(|error| Error::At {
                doing: "drop the cache of",
                path: entry.path.to_string(),
                source: error.into(),
            })?;
        }
        Ok(writer.put(entry, Runs::new(file, &entry.node))?)
    });
    match walk {
        Ok(()) => Ok(writer.finish()?),
        Err(error) => {
            let mut reason = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                reason.push_str(&format!(": {source}"));
            }
            // The walk's error is the one that counts; a reader that is gone cannot be told either.
            let _ = writer.fail(&reason);
            Err(error)
        }
    }
}

/// The stored runs of a file, joined.
struct Runs<'f> {
    file: &'f File,
    rest: std::vec::IntoIter<crate::tree_stream::Extent>,
    left: u64,
}

impl<'f> Runs<'f> {
    fn new(file: &'f File, node: &Node) -> Self {
        let runs = if let Node::File { extents, .. } = node { extents.clone() } else { Vec::new() };
        Self { file, rest: runs.into_iter(), left: 0 }
    }
}

impl io::Read for Runs<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let Some(run) = self.rest.next() else { return Ok(0) };
            self.file.seek(SeekFrom::Start(run.at))?;
            self.left = run.length;
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..room])?;
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
