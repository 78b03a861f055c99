//! Remembers answers, so that a call sent twice is done once.
//!
//! A client that lost its connection sends again what was not answered, under the same number. Without this, a
//! REMOVE that was done would be answered "no such file" the second time. Only as many answers are kept as an
//! honest client can still ask for; they do not outlive the server, as everywhere.
use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex},
};

use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

/// Answers kept.
const KEPT: usize = 1024;

/// A call, as its sender repeats it.
type Key = (IpAddr, [u8; 32]);

/// An answer; `None` closes the connection.
pub type Reply = Option<Arc<Vec<u8>>>;

#[derive(Default)]
struct State {
    replies: BTreeMap<Key, Arc<OnceCell<Reply>>>,
    order: VecDeque<Key>,
}

/// The answers remembered.
#[derive(Default)]
pub struct Replies(Mutex<State>);

impl Replies {
    /// The answer to a call: the one being made or already made, or the one that `work` makes now.
    pub async fn once(&self, peer: IpAddr, record: &[u8], work: impl Future<Output = Reply>) -> Reply {
        let key = (peer, Sha256::digest(record).into());
        let cell = {
            let mut state = self.0.lock().expect("no holder of the replies' lock panics");
            if let Some(cell) = state.replies.get(&key) {
                cell.clone()
            } else {
                if state.order.len() >= KEPT
                    && let Some(oldest) = state.order.pop_front()
                {
                    state.replies.remove(&oldest);
                }
                state.order.push_back(key);
                state.replies.entry(key).or_default().clone()
            }
        };
        cell.get_or_init(|| work).await.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_call_sent_twice_is_done_once_even_while_it_is_being_done() {
        let (replies, done) = (Replies::default(), AtomicU32::new(0));
        let here = IpAddr::from([127, 0, 0, 1]);
        let work = || async {
            tokio::task::yield_now().await;
            done.fetch_add(1, Ordering::Relaxed);
            Some(Arc::new(vec![1]))
        };
        let both = tokio::join!(replies.once(here, b"call", work()), replies.once(here, b"call", work()));
        assert_eq!(both.0, both.1);
        assert_eq!(done.load(Ordering::Relaxed), 1);
        replies.once(IpAddr::from([127, 0, 0, 2]), b"call", work()).await;
        assert_eq!(done.load(Ordering::Relaxed), 2, "another client's call");
        for number in 0..KEPT as u32 {
            replies.once(here, &number.to_be_bytes(), async { None }).await;
        }
        replies.once(here, b"call", work()).await;
        assert_eq!(done.load(Ordering::Relaxed), 3, "forgotten");
    }
}
