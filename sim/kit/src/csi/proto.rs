//! The gRPC contracts, generated from `proto/`.
#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]

tonic::include_proto!("csi.v1");

/// How the kubelet takes a plugin in.
pub mod registration {
    tonic::include_proto!("pluginregistration");
}
