//! As much of a shell as the bed's containers need.
//!
//! Runs `exit`, `sleep`, `echo` with redirection, `printf`, `touch`, `mkdir`, `rm`, `cat`, `true`, `false`,
//! joined by `;`, `&&`, `||` and line ends; anything else succeeds and does nothing, and says so in its
//! output. It exists so that a Job can fail on purpose and an action can leave a file; it is no shell.

use std::{sync::Arc, time::Duration};

use engine::tree::{Path, ReadTree as _, WriteTree as _};

use crate::volume::Mount;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Exit code.
    pub code: i32,
    /// What it printed.
    pub output: String,
}

/// Where a shell's paths lead: mount paths with the mounts behind them.
pub type Places = Vec<(String, Arc<Mount>)>;

/// Runs a script.
pub async fn run(script: &str, places: &Places) -> End {
    let mut end = End { code: 0, output: String::new() };
    for (joint, command) in split(script) {
        let skip = match joint {
            "&&" => end.code != 0,
            "||" => end.code == 0,
            _ => false,
        };
        if skip || command.is_empty() {
            continue;
        }
        let words = words(&command);
        if words.first().is_some_and(|word| word == "exit") {
            end.code = words.get(1).and_then(|code| code.parse().ok()).unwrap_or(end.code);
            return end;
        }
        end.code = step(&words, places, &mut end.output).await;
    }
    end
}

async fn step(words: &[String], places: &Places, output: &mut String) -> i32 {
    let (words, target) = redirected(words);
    let arguments = || words.iter().skip(1).filter(|word| !word.starts_with('-'));
    match words.first().map(String::as_str) {
        Some("sleep") => {
            match words.get(1).map(String::as_str) {
                Some("infinity") => std::future::pending::<()>().await,
                Some(seconds) => {
                    tokio::time::sleep(Duration::from_secs_f64(seconds.parse().unwrap_or(0.0))).await;
                }
                None => {}
            }
            0
        }
        Some("false") => 1,
        Some("echo" | "printf") => {
            let mut text = words[1..].join(" ");
            if words[0] == "echo" {
                text.push('\n');
            }
            match target {
                None => {
                    output.push_str(&text);
                    0
                }
                Some((path, appends)) => write(places, &path, text.as_bytes(), appends, output),
            }
        }
        Some("touch") => arguments().fold(0, |code, path| code | write(places, path, &[], true, output)),
        Some("mkdir") => arguments().fold(0, |code, path| {
            code | on(places, path, output, |mount, path| mount.create_dir(path, 0o755))
        }),
        Some("rm") => arguments()
            .fold(0, |code, path| code | on(places, path, output, engine::tree::WriteTree::remove_file)),
        Some("cat") => arguments().fold(0, |code, path| {
            let mut bytes = Vec::new();
            let read = on(places, path, output, |mount, path| {
                std::io::Read::read_to_end(&mut mount.open(path)?, &mut bytes).map(|_| ())
            });
            output.push_str(&String::from_utf8_lossy(&bytes));
            code | read
        }),
        Some("true" | "sync" | "set" | "cd" | ":") | None => 0,
        Some(other) => {
            output.push_str(&format!("(the bed does not run {other})\n"));
            0
        }
    }
}

fn on(
    places: &Places,
    path: &str,
    output: &mut String,
    act: impl FnOnce(&Mount, &Path) -> std::io::Result<()>,
) -> i32 {
    let place = places
        .iter()
        .filter(|(mount, _)| path == mount || path.starts_with(&format!("{mount}/")))
        .max_by_key(|(mount, _)| mount.len());
    let result = match place {
        Some((at, mount)) => {
            act(mount, &Path::new(&path.as_bytes()[at.len()..])).map_err(|error| error.to_string())
        }
        None => Err("Read-only file system".to_owned()),
    };
    match result {
        Ok(()) => 0,
        Err(why) => {
            output.push_str(&format!("sh: {path}: {why}\n"));
            1
        }
    }
}

fn write(places: &Places, path: &str, bytes: &[u8], appends: bool, output: &mut String) -> i32 {
    on(places, path, output, |mount, path| {
        let mut all = Vec::new();
        if appends && let Ok(mut old) = mount.open(path) {
            std::io::Read::read_to_end(&mut old, &mut all)?;
        }
        all.extend_from_slice(bytes);
        let mut file = mount.create_file(path, 0o644)?;
        file.write_at(0, &all)?;
        file.finish()
    })
}

fn redirected(words: &[String]) -> (Vec<String>, Option<(String, bool)>) {
    let mut kept = Vec::new();
    let mut target = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (mark, appends) = if word.starts_with(">>") { (">>", true) } else { (">", false) };
        if let Some(rest) = word.strip_prefix(mark) {
            let path =
                if rest.is_empty() { words.next().cloned().unwrap_or_default() } else { rest.to_owned() };
            target = Some((path, appends));
        } else {
            kept.push(word.clone());
        }
    }
    (kept, target)
}

/// Splits at joints outside of quotes.
fn split(script: &str) -> Vec<(&'static str, String)> {
    let mut parts = Vec::new();
    let (mut joint, mut current, mut quote) = (";", String::new(), None);
    let mut rest = script.chars().peekable();
    while let Some(letter) = rest.next() {
        match (quote, letter) {
            (Some(open), close) if open == close => {
                quote = None;
                current.push(close);
            }
            (None, '\'' | '"') => {
                quote = Some(letter);
                current.push(letter);
            }
            (None, ';' | '\n') => {
                parts.push((std::mem::replace(&mut joint, ";"), std::mem::take(&mut current)));
            }
            (None, '&' | '|') if rest.peek() == Some(&letter) => {
                rest.next();
                let next = if letter == '&' { "&&" } else { "||" };
                parts.push((std::mem::replace(&mut joint, next), std::mem::take(&mut current)));
            }
            _ => current.push(letter),
        }
    }
    parts.push((joint, current));
    parts.into_iter().map(|(joint, command)| (joint, command.trim().to_owned())).collect()
}

fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut current, mut quote, mut is_word) = (String::new(), None, false);
    for letter in command.chars() {
        match (quote, letter) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                is_word = true;
            }
            (None, space) if space.is_whitespace() => {
                if is_word {
                    words.push(std::mem::take(&mut current));
                }
                is_word = false;
            }
            _ => {
                current.push(letter);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(current);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(script: &str, code: i32, output: &str) {
        let end = run(script, &Places::new()).await;
        assert_eq!((end.code, end.output.as_str()), (code, output), "{script}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_ends_as_a_shell_would() {
        check("exit 3", 3, "").await;
        check("true && echo 'a  b' ; false || exit 4", 4, "a  b\n").await;
        check("false && echo no", 1, "").await;
        check("sleep 3; echo done", 0, "done\n").await;
        check("echo x > /data/file", 1, "sh: /data/file: Read-only file system\n").await;
    }
}
