//! Running `bash -c` for actions, in a process group of its own.
//!
//! The run drops the future when time is over or when it is told to stop; the group is then ended by
//! [`Shell::end_remaining`], which the binary calls before it exits and before the next action.
use std::{
    process::Stdio,
    sync::{Mutex, PoisonError},
};

use mover::{ActionEnd, RunAction};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{io::AsyncReadExt as _, process::Command};

/// The shell of the mover's container.
#[derive(Default)]
pub struct Shell {
    running: Mutex<Option<Pid>>,
}

impl Shell {
    fn running(&self) -> std::sync::MutexGuard<'_, Option<Pid>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Ends the process group of an action whose future was dropped.
    pub fn end_remaining(&self) {
        if let Some(group) = self.running().take() {
            // The group may be gone already, which is what we want.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
    async fn spawn(&self, command: &str) -> std::io::Result<ActionEnd> {
        // One pipe for both streams, in the order they are written.
        let mut child = Command::new("bash")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        *self.running() = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let mut output = Vec::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_end(&mut output).await?;
        }
        let status = child.wait().await?;
        *self.running() = None;
        Ok(ActionEnd {
            code: status.code().unwrap_or(128),
            output: String::from_utf8_lossy(&output).into_owned(),
        })
    }
}

#[async_trait::async_trait]
impl RunAction for Shell {
    async fn run(&self, command: &str) -> ActionEnd {
        self.end_remaining();
        self.spawn(command).await.unwrap_or_else(|error| ActionEnd {
            code: 127,
            output: format!("bash could not be run: {error}"),
        })
    }
}
