//! Registration with the kubelet: a socket in its plugin folder, on which the kubelet asks who is there.
//!
//! The kubelet calls with the socket's path as `:authority`, which is no authority; the HTTP/2 library below
//! tonic ends such a stream with PROTOCOL_ERROR before anybody can answer. The contract has two calls that
//! their messages tell apart, so this speaks just that much HTTP/2 itself: request headers are never decoded,
//! an empty message is `GetInfo`, any other `NotifyRegistrationStatus` (a status is never empty: it says
//! registered, or why not). It serves nobody but the kubelet, one connection at a time or several.
//!
//! Source: RFC 9113 (frames), RFC 7541 (literal header fields without indexing), gRPC over HTTP/2.
use std::{collections::BTreeMap, io, path::PathBuf};

use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::proto::registration::{PluginInfo, RegistrationStatus};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest frame of a peer that was not told otherwise.
const FRAME_BYTES_MAX: usize = 1 << 14;
/// More than any message of the contract.
const MESSAGE_BYTES_MAX: usize = 1 << 16;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;

/// Acknowledges SETTINGS and PING; on DATA and HEADERS it ends the stream.
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// What the kubelet is told about one driver.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The driver's name.
    pub name: String,
    /// The driver's socket, as the kubelet sees it.
    pub endpoint: PathBuf,
}

impl Registration {
    /// Answers one connection until it ends.
    ///
    /// # Errors
    /// The peer does not speak HTTP/2, or breaks its rules; nobody else is concerned.
    pub async fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).await?;
        if preface != PREFACE {
            return Err(malformed("not an HTTP/2 connection"));
        }
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
        let mut messages: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        loop {
            let mut head = [0; 9];
            match stream.read_exact(&mut head).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                result => result?,
            };
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
            if length > FRAME_BYTES_MAX {
                return Err(malformed("a frame is too long"));
            }
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).await?;
            match kind {
                SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?,
                PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &payload)).await?,
                GO_AWAY => return Ok(()),
                RST_STREAM => drop(messages.remove(&number)),
                HEADERS => drop(messages.insert(number, Vec::new())),
                DATA => {
                    let message =
                        messages.get_mut(&number).ok_or_else(|| malformed("data without headers"))?;
                    message.extend_from_slice(unpadded(flags, &payload)?);
                    if message.len() > MESSAGE_BYTES_MAX {
                        return Err(malformed("a message is too long"));
                    }
                    if flags & END_STREAM != 0 {
                        let message = messages.remove(&number).unwrap_or_default();
                        let answer = self.called(&message)?;
                        stream.write_all(&answered(number, &answer)).await?;
                    }
                }
                _ => {}
            }
        }
    }

    /// The answer to a call, without gRPC's prefix.
    fn called(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        // gRPC's prefix: whether it is compressed, and the length.
        let Some(([0, ..], message)) = message.split_at_checked(5) else {
            return Err(malformed("not a plain gRPC message"));
        };
        if message.is_empty() {
            let info = PluginInfo {
                r#type: "CSIPlugin".to_owned(),
                name: self.name.clone(),
                endpoint: self.endpoint.display().to_string(),
                supported_versions: vec!["1.0.0".to_owned()],
            };
            return Ok(info.encode_to_vec());
        }
        let status =
            RegistrationStatus::decode(message).map_err(|_| malformed("not a registration status"))?;
        if status.plugin_registered {
            tracing::info!(driver = self.name, "registered with the kubelet");
        } else {
            let error = status.error;
            tracing::error!(driver = self.name, error, "the kubelet refused the driver; it will ask again");
        }
        Ok(Vec::new())
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn unpadded(flags: u8, payload: &[u8]) -> io::Result<&[u8]> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or_else(|| malformed("padding without a length"))?;
    let end =
        rest.len().checked_sub(usize::from(*padding)).ok_or_else(|| malformed("padding is too long"))?;
    Ok(&rest[..end])
}

fn frame(kind: u8, flags: u8, number: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(number.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Headers, message and trailers of a call that went well.
fn answered(number: u32, message: &[u8]) -> Vec<u8> {
    // `:status: 200` is entry 8 of the static table, `content-type` the name of entry 31.
    let mut headers = vec![0x88, 0x0f, 0x10];
    headers.extend(text("application/grpc"));
    let mut data = vec![0];
    data.extend((message.len() as u32).to_be_bytes());
    data.extend_from_slice(message);
    let mut trailers = vec![0x00];
    trailers.extend(text("grpc-status"));
    trailers.extend(text("0"));
    let mut answer = frame(HEADERS, END_HEADERS, number, &headers);
    answer.extend(frame(DATA, 0, number, &data));
    answer.extend(frame(HEADERS, END_HEADERS | END_STREAM, number, &trailers));
    answer
}

/// A short string of a header, not compressed.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![text.len() as u8];
    bytes.extend_from_slice(text.as_bytes());
    bytes
}
