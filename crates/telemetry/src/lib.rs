//! What a node says about itself: log lines and metrics.
//!
//! - [`logs`]: `tracing` to standard error or a file, as text or JSON, with a filter
//! - [`Metrics`]: the recorder behind the `metrics` macros, rendered in Prometheus' text format
//! - [`measured`]: what is counted so often that it is not looked up by name
//! - [`names`]: every metric with its meaning; other crates record under these names
//! - [`trace`]: the steps of requests, here and on other nodes

mod log_file;
pub mod logs;
pub mod measured;
mod metrics;
pub mod names;
pub mod trace;

pub use self::log_file::LogFile;
pub use self::logs::{LogFormat, LogLevel};
pub use self::metrics::Metrics;

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("telemetry.level is {filter:?}: {reason}")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file for log lines cannot be written.
    #[error("telemetry.file {path}: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody was first.
    #[error("{0} is already set up in this process")]
    Twice(&'static str),
    /// The histogram bounds are not accepted.
    #[error("metrics: {0}")]
    Metrics(String),
}
