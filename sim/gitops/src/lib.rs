//! Reads a GitOps repository or rendered manifests into the neutral backup model.
