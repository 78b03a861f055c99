//! Clusters, volumes, stores, subjects and oracles: things that run.
