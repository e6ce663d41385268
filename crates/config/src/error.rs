//! What can be wrong with a configuration.

use std::path::PathBuf;

/// Why there is no configuration. Each text names the setting and, where known, the layer it came from.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named with `--config` cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A layer holds something that is not a setting, or a value of the wrong form.
    #[error("{0}")]
    Value(String),
    /// Settings that are each well formed but cannot stand together.
    #[error("{0}")]
    Conflict(String),
}
