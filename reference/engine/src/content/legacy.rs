//! Which index blobs count in repositories without epochs (`n`, `m`, `l` blobs). Read only.
//!
//! It understands compaction logs; it never writes or deletes such blobs.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{
    blob,
    encrypt::blob_identifier,
    error::Error,
    format::secrets::Secrets,
    store::{self, Metadata, SharedStore},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct CompactionLog {
    input_metadata: Option<Vec<LogBlob>>,
    output_metadata: Option<Vec<LogBlob>>,
}

#[derive(Deserialize)]
struct LogBlob {
    id: String,
}

/// The live set: every `n` blob, without the inputs of the compactions whose outputs are all there.
pub async fn live(store: &SharedStore, secrets: &Secrets) -> Result<Vec<Metadata>, Error> {
    let indexes = store.list("n").await?;
    let present: BTreeSet<&str> = indexes.iter().map(|blob| blob.id.as_str()).collect();
    let mut superseded = BTreeSet::new();
    for log in store.list("m").await? {
        let corrupt = |detail: &str| Error::CorruptIndex {
            blob: blob::Id::new(log.id.as_str()),
            detail: detail.to_owned(),
        };
        let bytes = match store.get(&log.id, None).await {
            Ok(bytes) => bytes,
            Err(vanished) if vanished.kind == store::ErrorKind::NotFound => continue,
            Err(failure) => return Err(failure.into()),
        };
        let identifier = blob_identifier(&log.id).ok_or_else(|| corrupt("its name holds no hash"))?;
        let plain =
            secrets.encryptor.decrypt(&identifier, &bytes).map_err(|_| corrupt("authentication failed"))?;
        let parsed: CompactionLog =
            serde_json::from_slice(&plain).map_err(|error| corrupt(&error.to_string()))?;
        let outputs = parsed.output_metadata.unwrap_or_default();
        if outputs.iter().all(|output| present.contains(output.id.as_str())) {
            superseded.extend(parsed.input_metadata.unwrap_or_default().into_iter().map(|input| input.id));
        }
    }
    Ok(indexes.iter().filter(|blob| !superseded.contains(&blob.id)).cloned().collect())
}
