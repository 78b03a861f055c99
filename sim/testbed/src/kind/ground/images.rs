//! Images of our own programs, made from files of this machine without a registry.
//!
//! A program that is linked dynamically brings its libraries along, at the places where it looks for them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command as Process,
};

use cluster::{
    Run,
    image::{self, File, Scratch},
};

use super::{Error, PROGRAMS, failed};

/// Where a mover's pod looks for its program.
const MOVER_PROGRAM: &str = contract::pod::COMMAND;

/// Makes archives of images from programs of this machine, with what a dynamic one needs to run.
pub(super) fn make_images(run: &Run, programs: &BTreeMap<String, PathBuf>) -> Result<Vec<PathBuf>, Error> {
    let mut archives = Vec::new();
    for (name, program, user) in PROGRAMS {
        let path = &programs[program];
        // A mover's pod starts its program under the name that the original's image gives it.
        let inside = if program == "mover" { MOVER_PROGRAM.to_owned() } else { format!("/{program}") };
        let mut files = with_libraries(&inside, path)?;
        files.push(File::directory("/tmp", 0o1777));
        let scratch = Scratch {
            name: name.to_owned(),
            files,
            entrypoint: vec![inside],
            user: user.to_owned(),
            ..Scratch::default()
        };
        let archive = run.directory().join(format!("{program}.tar"));
        image::from_scratch(&scratch, &archive).map_err(failed(&format!("make the image {name}")))?;
        archives.push(archive);
    }
    Ok(archives)
}

/// A program of this machine for an image, with the libraries that it loads.
pub(super) fn with_libraries(inside: &str, program: &Path) -> Result<Vec<File>, Error> {
    let mut files = vec![File::program(inside, program)];
    let libraries = libraries(program)?.into_iter();
    files.extend(libraries.map(|library| File::program(&library.display().to_string(), &library)));
    Ok(files)
}

/// The libraries that a program loads; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, Error> {
    let said = Process::new("ldd")
        .arg(program)
        .output()
        .map_err(|source| Error::System { what: format!("ldd {} did not run", program.display()), source })?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let paths = text.lines().filter_map(|line| {
        // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, or `/lib64/ld-linux-x86-64.so.2 (0x…)`
        let path = line.split("=>").last()?.split_whitespace().next()?;
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    Ok(paths.collect())
}
