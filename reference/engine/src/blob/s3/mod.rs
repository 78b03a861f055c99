//! A store in an S3 bucket.
//!
//! [`open`] builds the client: path-style addresses (what MinIO, Ceph and Garage want), requests signed with
//! Signature Version 4 and the body's digest, a transport of its own on hyper and rustls with ring. It
//! promises that every wait ends: connecting, a silence in the middle of a transfer, and all attempts at one
//! request together have limits ([`Patience`]); what is not the store's fault (wrong key, wrong bucket, a
//! certificate nobody vouches for) fails at once. It creates no bucket, follows no redirect, reads neither
//! environment nor files, and asks no instance for credentials. Signing needs the real time, and retries
//! chance: this is the one part of the engine, with the local file system, that does not belong into a
//! simulation.
//! Read next: [`super::bucket`], which makes blobs of objects.
mod transport;

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
};

use super::bucket::BucketStore;
use crate::store::{Error, ErrorKind, SharedStore};

pub use transport::Transport;

/// The endpoint of Amazon itself, which has one host for each region.
const AMAZON: &str = "s3.amazonaws.com";
/// The region of a store that has none; also what Kopia falls back to.
const REGION: &str = "us-east-1";

/// How long a store may keep us waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the next byte in either direction.
    pub silence: Duration,
    /// For one request with all its retries; the last attempt may end later.
    pub request: Duration,
    /// How often a request is tried again.
    pub retries: usize,
}

impl Default for Patience {
    /// Long enough for a store that restarts, short enough for a Job to say why it failed.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(30),
            request: Duration::from_secs(60),
            retries: 12,
        }
    }
}

/// Where a bucket is and who asks.
#[derive(Clone)]
pub struct Options {
    /// Host and optional port, without scheme.
    pub endpoint: String,
    /// Name of the bucket.
    pub bucket: String,
    /// What stands before every blob's name: empty, or ending in `/`.
    pub prefix: String,
    /// Region; empty for `us-east-1`.
    pub region: String,
    /// Speak plain HTTP.
    pub disable_tls: bool,
    /// Certificates (PEM) that are trusted, and then no others; `None` trusts Mozilla's list.
    pub root_ca_pem: Option<Vec<u8>>,
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
    /// Session token; empty for none.
    pub session_token: String,
    /// Limits of waiting.
    pub patience: Patience,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{} at {}", self.bucket, self.prefix, self.endpoint)
    }
}

fn wrong(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::Misconfigured, "open", "", detail)
}

/// Opens a bucket; nothing is asked of the store yet.
///
/// # Errors
/// [`ErrorKind::Misconfigured`] for options that no request could be made with.
pub fn open(options: &Options) -> Result<SharedStore, Error> {
    let transport = Transport::new(options.root_ca_pem.as_deref(), options.patience).map_err(wrong)?;
    let client = client(options, transport)?;
    Ok(Arc::new(BucketStore::paged(Arc::new(client), options.prefix.as_str())))
}

/// Builds the client over any transport.
fn client(options: &Options, transport: Transport) -> Result<AmazonS3, Error> {
    if options.access_key.is_empty() || options.secret_key.is_empty() {
        return Err(wrong("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set for an S3 repository"));
    }
    let region = if options.region.is_empty() { REGION } else { options.region.as_str() };
    let patience = options.patience;
    let builder = AmazonS3Builder::new()
        .with_bucket_name(&options.bucket)
        .with_region(region)
        .with_access_key_id(&options.access_key)
        .with_secret_access_key(&options.secret_key)
        .with_virtual_hosted_style_request(false)
        // A plain DELETE; the bulk form is missing in some stores.
        .with_disable_bulk_delete(true)
        .with_client_options(
            ClientOptions::new()
                .with_allow_http(options.disable_tls)
                .with_default_content_type("application/x-kopia"),
        )
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(200),
                max_backoff: Duration::from_secs(10),
                base: 2.,
            },
            max_retries: patience.retries,
            retry_timeout: patience.request,
        })
        .with_http_connector(transport);
    let builder =
        if options.session_token.is_empty() { builder } else { builder.with_token(&options.session_token) };
    // Amazon's common host answers other regions with a redirect: its own client forms the right host.
    let builder = if options.endpoint == AMAZON && !options.disable_tls {
        builder
    } else {
        let scheme = if options.disable_tls { "http" } else { "https" };
        builder.with_endpoint(format!("{scheme}://{}", options.endpoint))
    };
    builder
        .build()
        .map_err(|error| wrong(format!("the endpoint {:?} cannot be used: {error}", options.endpoint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            endpoint: "127.0.0.1:1".into(),
            bucket: "bucket".into(),
            prefix: String::new(),
            region: String::new(),
            disable_tls: true,
            root_ca_pem: None,
            access_key: "key".into(),
            secret_key: "hunter2".into(),
            session_token: String::new(),
            patience: Patience { retries: 0, ..Patience::default() },
        }
    }

    #[test]
    fn what_no_request_can_be_made_with_is_refused() {
        let check = |options: Options, expected: &str| {
            let error = open(&options).map(drop).expect_err("refused");
            assert_eq!(error.kind, ErrorKind::Misconfigured);
            assert!(error.detail.contains(expected), "{}", error.detail);
        };
        check(Options { access_key: String::new(), ..options() }, "AWS_ACCESS_KEY_ID");
        check(Options { root_ca_pem: Some(b"none".to_vec()), ..options() }, "no certificate");
        assert!(!format!("{:?}", options()).contains("hunter2"));
    }

    #[tokio::test]
    async fn nobody_at_the_endpoint_is_unavailable() {
        let error = open(&options()).unwrap().list("").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.detail.contains("refused"), "{}", error.detail);
    }
}
