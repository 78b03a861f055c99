//! `firedrill play`: one scenario from standard input, its outcome to standard output.
//!
//! The child's side of the pool. Promises an outcome even when the harness panics while playing: that is
//! the verdict `broken`, with the panic's words.

use std::{
    io::{Read as _, Write as _},
    panic,
    sync::{Arc, Mutex},
};

use anyhow::Context as _;

use crate::{
    drive,
    input::Found,
    pool::{self, Order},
};

/// Plays.
pub fn command() -> anyhow::Result<u8> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).context("standard input cannot be read")?;
    let order: Order =
        serde_json::from_slice(&text).context("standard input is no order of `firedrill run`")?;
    let outcome = guarded(&order);
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &outcome)?;
    out.flush()?;
    Ok(outcome.verdict.exit_code())
}

/// Plays an order; a panic becomes the verdict `broken`.
pub fn guarded(order: &Order) -> crate::outcome::Outcome {
    let words = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&words);
    panic::set_hook(Box::new(move |info| {
        let mut words = heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if words.is_empty() {
            *words = info.to_string();
        }
    }));
    let played = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let file = order.file.display().to_string();
        drive::play_on(&order.on, &order.scenario, &file, order.record.as_deref())
    }));
    let _ = panic::take_hook();
    played.unwrap_or_else(|_| {
        let found = Found { file: order.file.clone(), scenario: order.scenario.clone() };
        let words = words.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        pool::broken(&found, format!("the harness panicked: {words}"))
    })
}
