//! ONC RPC over TCP: records, calls and replies; what server and mount helper share.
//!
//! A record is one message, in one or more fragments, each with a length in front. It promises to join
//! fragments, to refuse records beyond [`RECORD_BYTES_MAX`], and to write one fragment per record. The words of
//! the programs (NFS, MOUNT, portmapper) are `nfs3_types`'; this file only carries them.
//!
//! Source: RFC 5531 (RPC, record marking), RFC 1813 (NFS version 3 and MOUNT version 3).
use std::io::{self, Cursor};

use nfs3_types::{
    rpc::{
        RPC_VERSION_2, accept_stat_data, accepted_reply, auth_stat, auth_unix, call_body, fragment_header,
        msg_body, opaque_auth, rejected_reply, reply_body, rpc_msg,
    },
    xdr_codec::{Pack, Unpack},
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest record that is read: the largest READ or WRITE with its envelope, and room.
pub const RECORD_BYTES_MAX: usize = TRANSFER_BYTES_MAX as usize + (1 << 16);

/// The largest READ or WRITE: one MiB, as Linux servers offer.
pub const TRANSFER_BYTES_MAX: u32 = 1 << 20;

/// Reads one record; `None` at the end of the stream.
///
/// # Errors
/// Those of the stream, and `InvalidData` for a record beyond [`RECORD_BYTES_MAX`].
pub async fn read_record(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut record = Vec::new();
    loop {
        let mut header = [0; 4];
        match stream.read_exact(&mut header).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && record.is_empty() => {
                return Ok(None);
            }
            result => result?,
        };
        let header = fragment_header::from(header);
        let (start, length) = (record.len(), header.fragment_length() as usize);
        if start + length > RECORD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an RPC record is too long"));
        }
        record.resize(start + length, 0);
        stream.read_exact(&mut record[start..]).await?;
        if header.eof() {
            return Ok(Some(record));
        }
    }
}

/// Puts a message and what follows it into one record.
fn record(message: &rpc_msg<'_, '_>, body: &impl Pack) -> Vec<u8> {
    let length = message.packed_size() + body.packed_size();
    let mut bytes = Vec::with_capacity(4 + length);
    bytes.extend_from_slice(&fragment_header::new(length as u32, true).into_xdr_buf());
    // A vector takes every byte; the only error of packing is one of the sink.
    message.pack(&mut bytes).and_then(|_| body.pack(&mut bytes)).expect("packing into memory does not fail");
    bytes
}

/// Builds the record of a call.
pub fn call<A: Pack>(
    xid: u32,
    program: (u32, u32),
    procedure: u32,
    auth: &auth_unix,
    arguments: &A,
) -> Vec<u8> {
    let message = rpc_msg {
        xid,
        body: msg_body::CALL(call_body {
            rpcvers: RPC_VERSION_2,
            prog: program.0,
            vers: program.1,
            proc: procedure,
            cred: opaque_auth::auth_unix(auth),
            verf: opaque_auth::default(),
        }),
    };
    record(&message, arguments)
}

/// Builds the record of a reply that was accepted.
pub fn accepted(xid: u32, status: accept_stat_data, result: &impl Pack) -> Vec<u8> {
    let reply = accepted_reply { verf: opaque_auth::default(), reply_data: status };
    record(&rpc_msg { xid, body: msg_body::REPLY(reply_body::MSG_ACCEPTED(reply)) }, result)
}

/// Builds the record of a reply that refuses the call's credentials or RPC version.
pub fn denied(xid: u32, why: rejected_reply) -> Vec<u8> {
    record(&rpc_msg { xid, body: msg_body::REPLY(reply_body::MSG_DENIED(why)) }, &nfs3_types::xdr_codec::Void)
}

/// Why a reply is not the answer that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// The bytes are no reply to this procedure.
    #[error("the server's reply cannot be read")]
    Garbled(#[source] nfs3_types::xdr_codec::Error),
    /// The bytes are a call.
    #[error("the server sent a call in place of a reply")]
    NotAReply,
    /// The server does not take the credentials.
    #[error("the server refuses the credentials: {0}")]
    Auth(auth_stat),
    /// The server does not know the program, its version or the procedure, or cannot read the call.
    #[error("the server does not serve this call: {0}")]
    Unserved(String),
}

/// The number of a reply, to find who waits for it.
pub fn xid_of(record: &[u8]) -> Option<u32> {
    record.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Reads the result out of a reply.
pub fn result<R: Unpack>(record: &[u8]) -> Result<R, ReplyError> {
    let mut cursor = Cursor::new(record);
    let (message, _) = rpc_msg::unpack(&mut cursor).map_err(ReplyError::Garbled)?;
    match message.body {
        msg_body::CALL(_) => Err(ReplyError::NotAReply),
        msg_body::REPLY(reply_body::MSG_DENIED(rejected_reply::AUTH_ERROR(why))) => {
            Err(ReplyError::Auth(why))
        }
        msg_body::REPLY(reply_body::MSG_DENIED(rejected_reply::RPC_MISMATCH { low, high })) => {
            Err(ReplyError::Unserved(format!("it speaks RPC versions {low} to {high}")))
        }
        msg_body::REPLY(reply_body::MSG_ACCEPTED(reply)) => match reply.reply_data {
            accept_stat_data::SUCCESS => {
                R::unpack(&mut cursor).map(|(value, _)| value).map_err(ReplyError::Garbled)
            }
            other => Err(ReplyError::Unserved(format!("{other:?}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use nfs3_types::xdr_codec::Void;

    use super::*;

    #[tokio::test]
    async fn fragments_are_joined_and_long_records_refused() {
        let mut bytes: &[u8] = &[0, 0, 0, 1, 7, 0x80, 0, 0, 2, 8, 9, 0x80, 0, 0, 0];
        assert_eq!(read_record(&mut bytes).await.unwrap().unwrap(), [7, 8, 9]);
        assert_eq!(read_record(&mut bytes).await.unwrap().unwrap(), [0; 0]);
        assert!(read_record(&mut bytes).await.unwrap().is_none());
        let mut long: &[u8] = &[0xff, 0xff, 0xff, 0xff];
        assert_eq!(read_record(&mut long).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut cut: &[u8] = &[0x80, 0, 0, 2, 8];
        assert_eq!(read_record(&mut cut).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_reply_is_read_or_says_why_not() {
        let good = accepted(7, accept_stat_data::SUCCESS, &42_u32);
        assert_eq!(xid_of(&good[4..]), Some(7));
        assert_eq!(result::<u32>(&good[4..]).unwrap(), 42);
        assert!(matches!(result::<u64>(&good[4..]), Err(ReplyError::Garbled(_))));
        let unserved = accepted(7, accept_stat_data::PROC_UNAVAIL, &Void);
        assert!(matches!(result::<u32>(&unserved[4..]), Err(ReplyError::Unserved(_))));
        let weak = denied(7, rejected_reply::AUTH_ERROR(auth_stat::AUTH_TOOWEAK));
        assert!(matches!(result::<u32>(&weak[4..]), Err(ReplyError::Auth(auth_stat::AUTH_TOOWEAK))));
        let call = call(7, (100_003, 3), 0, &auth_unix::default(), &Void);
        assert!(matches!(result::<u32>(&call[4..]), Err(ReplyError::NotAReply)));
    }
}
