//! A body on its way through: at a rate, and perhaps cut in the middle.
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::troubles::Armament;

/// A body that suffers.
pub struct Suffering {
    inner: Incoming,
    bytes_per_second: Option<u64>,
    /// Bytes that are on their way, and when they arrive.
    held: Option<(Pin<Box<Sleep>>, Bytes)>,
    reset: Option<(u64, Arc<Armament>)>,
}

impl Suffering {
    /// Lets a body through at a rate, up to the bytes after which it is cut.
    pub fn new(inner: Incoming, bytes_per_second: Option<u64>, reset: Option<(u64, Arc<Armament>)>) -> Self {
        Self { inner, bytes_per_second, held: None, reset }
    }
}

impl Body for Suffering {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some((pause, _)) = self.held.as_mut() {
            ready!(pause.as_mut().poll(context));
            if let Some((_, data)) = self.held.take() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
        if let Some((0, armament)) = &self.reset {
            armament.strike();
            self.reset = None;
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
        }
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
            Some(Ok(frame)) => frame,
        };
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        if let Some((left, _)) = self.reset.as_mut() {
            data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= data.len() as u64;
        }
        if let Some(rate) = self.bytes_per_second {
            let pause = Duration::from_secs_f64(data.len() as f64 / rate.max(1) as f64);
            self.held = Some((Box::pin(tokio::time::sleep(pause)), data));
            // The pause must be asked once to wake us.
            return self.poll_frame(context);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
    fn is_end_stream(&self) -> bool {
        // Bytes on their way and a cut at the very end still have to come.
        self.held.is_none() && !matches!(self.reset, Some((0, _))) && self.inner.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
