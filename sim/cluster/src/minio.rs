//! MinIO beside the cluster: an S3 server in a container, plain or behind TLS with an authority of our own.
//!
//! Pods reach it by its alias, this machine by a published port; the certificate names both. Buckets are directories
//! of its volume, made before it looks.

use futures::future::BoxFuture;
use std::time::Duration;

use crate::{Error, Run, Sibling, certificate::Authority, recipe};

const PORT: u16 = 9000;

/// A MinIO to be; ends with [`MinioBuilder::start`].
#[derive(Debug, Clone)]
pub struct MinioBuilder {
    run: Run,
    name: String,
    image: String,
    buckets: Vec<String>,
    tls: bool,
    port: Option<u16>,
}

/// A running MinIO.
#[derive(Debug)]
pub struct Minio {
    sibling: Sibling,
    access_key: String,
    secret_key: String,
    authority: Option<Authority>,
}

impl MinioBuilder {
    /// Makes a bucket.
    #[must_use]
    pub fn bucket(mut self, name: impl Into<String>) -> Self {
        self.buckets.push(name.into());
        self
    }

    /// Serves HTTPS with a certificate of an authority of its own, see [`Minio::authority_pem`].
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Runs another image, by name and tag, such as a stock `minio/minio`.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = image.into();
        self
    }

    /// Publishes it on a certain port of 127.0.0.1.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts it and waits until it is ready to serve, with its buckets.
    pub fn start(self) -> BoxFuture<'static, Result<Minio, Error>> {
        Box::pin(async move {
            if self.image == recipe::MINIO_IMAGE {
                crate::container::require_image(self.run.docker(), &self.image).await?;
                crate::image::require_current(self.run.docker(), &self.image).await?;
            }
            let (access_key, secret_key) = ("firedrill".to_owned(), "firedrill-secret".to_owned());
            let mut builder = Sibling::builder(&self.run, &self.name, self.image)
                .arguments(["server", "/data", "--address", ":9000", "--certs-dir", "/certs"])
                .env("MINIO_ROOT_USER", &access_key)
                .env("MINIO_ROOT_PASSWORD", &secret_key)
                .env("MINIO_BROWSER", "off")
                .env("MINIO_UPDATE", "off")
                .volume("/data")
                .volume("/certs");
            builder = match self.port {
                Some(port) => builder.port_at(PORT, port),
                None => builder.port(PORT),
            };
            let sibling = Box::pin(builder.start()).await?;
            let authority = if self.tls {
                let authority = Authority::new("firedrill test authority")?;
                let names =
                    [sibling.alias(), sibling.container(), "localhost", "127.0.0.1"].map(str::to_owned);
                let identity = authority.identity(&names)?;
                sibling.write("/certs/public.crt", identity.certificate.as_bytes(), 0o644).await?;
                sibling.write("/certs/private.key", identity.key.as_bytes(), 0o600).await?;
                sibling.restart().await?; // it looks for certificates when it starts
                Some(authority)
            } else {
                None
            };
            let minio = Minio { sibling, access_key, secret_key, authority };
            minio.wait_ready(Duration::from_secs(30)).await?;
            for bucket in &self.buckets {
                minio.make_bucket(bucket).await?;
            }
            Ok(minio)
        })
    }
}

impl Minio {
    /// A MinIO known as `name` on the run's network.
    pub fn builder(run: &Run, name: &str) -> MinioBuilder {
        MinioBuilder {
            run: run.clone(),
            name: name.to_owned(),
            image: recipe::MINIO_IMAGE.to_owned(),
            buckets: Vec::new(),
            tls: false,
            port: None,
        }
    }

    /// Where pods, nodes and siblings reach it, such as `http://minio:9000`.
    pub fn endpoint(&self) -> String {
        format!("{}://{}:{PORT}", self.scheme(), self.sibling.alias())
    }

    /// Where this machine reaches it; changes when it restarts.
    pub async fn endpoint_here(&self) -> Result<String, Error> {
        Ok(format!("{}://127.0.0.1:{}", self.scheme(), self.sibling.port(PORT).await?))
    }

    /// The access key of its administrator.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret key of its administrator.
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// The certificate of its authority, PEM, where it serves HTTPS.
    pub fn authority_pem(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::pem)
    }

    /// The container, for outages.
    pub fn sibling(&self) -> &Sibling {
        &self.sibling
    }

    /// Waits until it answers its readiness probe.
    pub async fn wait_ready(&self, within: Duration) -> Result<(), Error> {
        self.sibling.wait_listening(PORT, within).await
    }

    /// Makes a bucket; one that is there already is fine.
    pub async fn make_bucket(&self, name: &str) -> Result<(), Error> {
        self.sibling.make_directory(&format!("/data/{name}"), 0o755).await
    }

    /// Removes it with all it stores.
    pub async fn delete(self) -> Result<(), Error> {
        self.sibling.delete().await
    }

    fn scheme(&self) -> &'static str {
        if self.authority.is_some() { "https" } else { "http" }
    }
}
