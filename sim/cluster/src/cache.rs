//! Where results live between runs: outside the checkout, below the user's cache directory.

use std::path::PathBuf;

/// `$XDG_CACHE_HOME/firedrill`, else `~/.cache/firedrill`, else the system's directory for temporary files.
pub fn root() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("XDG_CACHE_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("firedrill")
}
