//! The S3 server's image: one static program and the directories it writes to.

use testcontainers::bollard::Docker;

use super::{
    MINIO_IMAGE, digest_for,
    steps::{self, Go, Kitchen},
};
use crate::{
    Error,
    image::{self, File, Scratch},
    mark,
};

pub(super) const STEPS: usize = 2;

const MINIO: Go =
    Go { program: "minio", module: "minio", package: "github.com/minio/minio", tags: "", kubernetes: false };

pub(super) async fn build(kitchen: &Kitchen, docker: &Docker) -> Result<(), Error> {
    steps::require("go", "the S3 server", super::node::GO_CURE)?;
    kitchen.go(&MINIO).await?;
    let archive = kitchen.path("minio.tar");
    let scratch = Scratch {
        name: MINIO_IMAGE.to_owned(),
        files: vec![
            File::program("/minio", kitchen.out("minio")),
            File::directory("/data", 0o755),
            File::directory("/certs", 0o755),
            File::directory("/tmp", 0o1777),
        ],
        entrypoint: vec!["/minio".to_owned()],
        labels: [(mark::RECIPE.to_owned(), digest_for(MINIO_IMAGE))].into(),
        ..Scratch::default()
    };
    kitchen
        .step("make the image of MinIO", &digest_for(MINIO_IMAGE), &archive, async |partial| {
            image::from_scratch(&scratch, &partial).map(drop)
        })
        .await?;
    image::load(docker, &archive).await
}
