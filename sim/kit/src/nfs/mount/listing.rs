//! Reading a directory: pages of the server, handed out entry by entry.
//!
//! The kernel asks for as much as fits its buffer and says where it goes on; what was fetched and not yet handed
//! out is kept for that, as long as it goes on where it stopped.
use std::collections::VecDeque;

use nfs3_types::{
    nfs3::{NFS_PROGRAM, READDIRPLUS3args, READDIRPLUS3resfail, READDIRPLUS3resok, cookieverf3, entryplus3},
    xdr_codec::List,
};
use rustix::io::Errno;

use super::work::{Open, Work};

/// Bytes asked for at once: enough for a thousand names.
const PAGE_BYTES: u32 = 256 << 10;

/// A directory as far as it was read.
#[derive(Default)]
pub struct Listing {
    entries: VecDeque<entryplus3<'static>>,
    /// The cookie of the last entry handed out, or 0.
    position: u64,
    /// The cookie after which the server is to go on.
    fetched: u64,
    verifier: cookieverf3,
    is_end: bool,
}

impl Listing {
    /// Goes to where the kernel is: after the entry with this cookie.
    pub fn seek(&mut self, position: u64) {
        if position != self.position || position == 0 {
            let verifier = if position == 0 { cookieverf3::default() } else { self.verifier };
            *self = Self { position, fetched: position, verifier, ..Self::default() };
        }
    }
    /// The next entry, to look at; `None` at the end.
    pub async fn peek(&mut self, work: &Work, open: &Open) -> Result<Option<&entryplus3<'static>>, Errno> {
        while self.entries.is_empty() && !self.is_end {
            let args = READDIRPLUS3args {
                dir: open.handle.clone(),
                cookie: self.fetched,
                cookieverf: self.verifier,
                dircount: PAGE_BYTES,
                maxcount: PAGE_BYTES,
            };
            let page: READDIRPLUS3resok<'static> = work
                .remote
                .ask::<_, _, READDIRPLUS3resfail>(NFS_PROGRAM::NFSPROC3_READDIRPLUS, &open.who, &args)
                .await?;
            let List(entries) = page.reply.entries;
            self.verifier = page.cookieverf;
            // A server that sends nothing and no end would be asked for ever.
            self.is_end = page.reply.eof || entries.is_empty();
            self.fetched = entries.last().map_or(self.fetched, |last| last.cookie);
            self.entries = entries.into();
        }
        Ok(self.entries.front())
    }
    /// The entry looked at was handed out.
    pub fn advance(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.position = entry.cookie;
        }
    }
}
