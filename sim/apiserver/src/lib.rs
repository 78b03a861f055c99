//! A Kubernetes API server double: a tower service that stock clients use unchanged.
