//! Compiles the two gRPC contracts without `protoc`: protox parses, tonic generates.
//!
//! Does nothing where the programs are not built.
use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    if env::var_os("CARGO_FEATURE_PROGRAMS").is_none() {
        return Ok(());
    }
    let files = protox::compile(["csi.proto", "registration.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .btree_map(".")
        .generate_default_stubs(true)
        .disable_comments(["."])
        .compile_fds(files)?;
    Ok(())
}
