//! Places of repositories: buckets of the store beside the cluster, exports of the NFS server, claims.
//!
//! Names are the scenario's own with its prefix in front, so that scenarios side by side do not meet. Blobs
//! are read past every fault that a mover meets: the bucket through the store's own port past the proxy, the export in the
//! server's own container, the claim through a hand. The object store's own word for an object's time is
//! kept; files have none that counts.

use std::{collections::BTreeMap, time::Duration};

use engine::{
    blob::s3::{self, Patience, Transport},
    store::SharedStore,
};
use json::json;
use object_store::{
    ClientOptions,
    aws::AmazonS3Builder,
    client::{HttpConnector as _, HttpRequest, HttpRequestBody},
    path::Path,
    signer::Signer as _,
};
use scenario::step::Place;

use super::{Bed, api::chain, coordinates::ObjectStore, trees};
use crate::{
    inspect::{self, Blobs},
    verbs::{Reach, Trouble},
    volume::Character,
};

/// The region that a store without regions calls itself.
const REGION: &str = "us-east-1";
/// How long a signed request stays good.
const SIGNED: Duration = Duration::from_secs(60);

impl Bed {
    pub(super) fn place(&mut self, place: &Place) -> Result<Reach, Trouble> {
        match place {
            Place::Bucket(bucket) => self.bucket(bucket, false),
            Place::TlsBucket(bucket) => self.bucket(bucket, true),
            Place::NfsExport(export) => {
                let nas = self.nas()?;
                let export = self.private(export);
                self.make_export(&nas, &export)?;
                Ok(Reach::mounted(
                    json!({"nfs": {"server": nas.server, "path": format!("{}/{export}", nas.export)}}),
                ))
            }
            Place::Claim(claim) => {
                Ok(Reach::mounted(json!({"persistentVolumeClaim": {"claimName": claim.name()}})))
            }
        }
    }

    pub(super) fn blobs_of(&mut self, place: &Place) -> Result<Option<Blobs>, Trouble> {
        let now = self.clock.now();
        match place {
            Place::Bucket(bucket) => self.bucket_blobs(bucket, false).map(Some),
            Place::TlsBucket(bucket) => self.bucket_blobs(bucket, true).map(Some),
            Place::NfsExport(export) => {
                let nas = self.nas()?;
                let export = self.private(export);
                let stream = self.read_export(&nas, &export)?;
                let volume = trees::unpack(&stream, &export, Character::Nfs, self.clock.as_function())
                    .map_err(|error| {
                        Trouble::Broken(format!("the export {export} was not read whole: {error}"))
                    })?;
                Ok(Some(inspect::volume_blobs(&volume, now)))
            }
            Place::Claim(claim) => {
                let Some(_) = self.mirror.get("PersistentVolumeClaim", claim.namespace(), claim.name())
                else {
                    return Ok(None);
                };
                let volume = self.read(claim.namespace(), claim.name())?;
                Ok(Some(inspect::volume_blobs(&volume, now)))
            }
        }
    }

    fn bucket(&mut self, bucket: &str, is_tls: bool) -> Result<Reach, Trouble> {
        let store = self.store(is_tls)?;
        let bucket = self.private(bucket);
        let made = self.runtime.block_on(make_bucket(&store, &bucket));
        self.buckets.insert((is_tls, bucket.clone()));
        made.map_err(|why| Trouble::Broken(format!("the bucket {bucket} cannot be made: {why}")))?;
        let mut secret = vec![
            ("KOPIA_REPOSITORY", format!("s3://{bucket}")),
            ("KOPIA_S3_BUCKET", bucket),
            ("KOPIA_S3_ENDPOINT", store.inside),
            ("AWS_ACCESS_KEY_ID", store.access_key),
            ("AWS_SECRET_ACCESS_KEY", store.secret_key),
        ];
        if !is_tls {
            secret.push(("KOPIA_S3_DISABLE_TLS", "true".to_owned()));
        }
        Ok(Reach { secret, authority: is_tls.then_some(store.authority), volume_source: None })
    }

    fn bucket_blobs(&mut self, bucket: &str, is_tls: bool) -> Result<Blobs, Trouble> {
        self.strike_at_rest();
        let store = self.store(is_tls)?;
        let bucket = self.private(bucket);
        let read = self.runtime.block_on(read_bucket(&store, &bucket));
        read.map_err(|why| Trouble::Broken(format!("the bucket {bucket} cannot be read: {why}")))
    }

    /// Empties the buckets that were made; the empty ones stay, and cost nothing.
    pub(super) fn clear_buckets(&mut self) {
        for (is_tls, bucket) in std::mem::take(&mut self.buckets) {
            let Ok(store) = self.store(is_tls) else { continue };
            if let Err(why) = self.runtime.block_on(empty_bucket(&store, &bucket)) {
                self.record.note(format!("the bucket {bucket} could not be emptied: {why}"));
            }
        }
    }

    /// A name that no other scenario of the cluster has.
    pub(super) fn private(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The object store, or the one that answers over TLS.
    pub(super) fn store(&self, is_tls: bool) -> Result<ObjectStore, Trouble> {
        let (store, which) = if is_tls {
            (&self.at.tls_store, "an object store with TLS")
        } else {
            (&self.at.store, "an object store for repositories")
        };
        let missing = || Trouble::Unsupported(format!("this cluster was prepared without {which}"));
        store.clone().ok_or_else(missing)
    }
}

async fn make_bucket(store: &ObjectStore, bucket: &str) -> Result<(), String> {
    let transport = Transport::new(authority(store).as_deref(), Patience::default())?;
    let scheme = if store.authority.is_empty() { "http" } else { "https" };
    let client = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(REGION)
        .with_access_key_id(&store.access_key)
        .with_secret_access_key(&store.secret_key)
        .with_virtual_hosted_style_request(false)
        .with_endpoint(format!("{scheme}://{}", store.outside))
        .with_allow_http(true)
        .with_http_connector(transport.clone())
        .build()
        .map_err(|error| chain(&error))?;
    // The client makes no buckets, but it signs: a PUT of nothing at all is what makes one.
    let url = client.signed_url(http::Method::PUT, &Path::default(), SIGNED).await;
    let url = url.map_err(|error| chain(&error))?;
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = http::Method::PUT;
    *request.uri_mut() = url.as_str().parse().map_err(|error| format!("{url}: {error}"))?;
    let http =
        transport.connect(&ClientOptions::new().with_allow_http(true)).map_err(|error| chain(&error))?;
    let answer = http.execute(request).await.map_err(|error| chain(&error))?;
    // 409: it is there already, and ours.
    if answer.status().is_success() || answer.status() == http::StatusCode::CONFLICT {
        return Ok(());
    }
    Err(format!("the store answered {}", answer.status()))
}

fn authority(store: &ObjectStore) -> Option<Vec<u8>> {
    (!store.authority.is_empty()).then(|| store.authority.clone().into_bytes())
}

/// Opens a bucket from this machine, past the proxy.
pub(super) fn open_bucket(store: &ObjectStore, bucket: &str) -> Result<SharedStore, String> {
    let options = s3::Options {
        endpoint: store.outside.clone(),
        bucket: bucket.to_owned(),
        prefix: String::new(),
        region: REGION.to_owned(),
        disable_tls: store.authority.is_empty(),
        root_ca_pem: authority(store),
        access_key: store.access_key.clone(),
        secret_key: store.secret_key.clone(),
        session_token: String::new(),
        patience: Patience::default(),
    };
    s3::open(&options).map_err(|error| chain(&error))
}

async fn empty_bucket(store: &ObjectStore, bucket: &str) -> Result<(), String> {
    let opened = open_bucket(store, bucket)?;
    for entry in opened.list("").await.map_err(|error| chain(&error))? {
        opened.delete(&entry.id).await.map_err(|error| chain(&error))?;
    }
    Ok(())
}

async fn read_bucket(store: &ObjectStore, bucket: &str) -> Result<Blobs, String> {
    let opened = open_bucket(store, bucket)?;
    let mut blobs = BTreeMap::new();
    for entry in opened.list("").await.map_err(|error| chain(&error))? {
        match opened.get(&entry.id, None).await {
            Ok(bytes) => {
                blobs.insert(entry.id, (bytes, entry.modified));
            }
            // Maintenance may remove a blob between the listing and the look.
            Err(error) if error.kind == engine::store::ErrorKind::NotFound => {}
            Err(error) => return Err(chain(&error)),
        }
    }
    Ok(blobs)
}
