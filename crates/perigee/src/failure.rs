//! Why the process ends, for people and for scripts.

use std::process::ExitCode;

use perigee_config::ConfigError;
use perigee_log::LogError;
use perigee_telemetry::TelemetryError;

/// Why a command did not do what it should. The exit codes are part of the command line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The settings are wrong; clap uses the same code for a wrong command line.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// What the command line asks for cannot be done.
    #[error("{0}")]
    Refused(String),
    /// The data directory cannot be used: locked, not Perigee's, not readable.
    #[error("{0}")]
    DataDir(String),
    /// A door cannot be opened.
    #[error("cannot listen on {address} ({door}): {source}")]
    Listen {
        /// Which door.
        door: &'static str,
        /// Where.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Data on disk is damaged. Nothing was changed.
    #[error("{0}")]
    Damaged(String),
    /// The node cannot start, or cannot go on.
    #[error("{0}")]
    Fatal(String),
}

impl Failure {
    /// 1 fatal, 2 configuration or command line, 3 data directory, 4 address, 5 damage.
    fn code(&self) -> u8 {
        match self {
            Self::Fatal(_) => 1,
            Self::Config(_) | Self::Refused(_) => 2,
            Self::DataDir(_) => 3,
            Self::Listen { .. } => 4,
            Self::Damaged(_) => 5,
        }
    }

    /// Tells the user and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        for line in self.to_string().lines() {
            eprintln!("perigee: {line}");
        }
        ExitCode::from(self.code())
    }

    /// Anything else that stops the node.
    pub(crate) fn fatal(what: impl std::fmt::Display) -> Self {
        Self::Fatal(what.to_string())
    }
}

impl From<TelemetryError> for Failure {
    fn from(error: TelemetryError) -> Self {
        match error {
            TelemetryError::Filter { .. } | TelemetryError::File { .. } => {
                Self::Config(ConfigError::Conflict(error.to_string()))
            }
            TelemetryError::Twice(_) | TelemetryError::Metrics(_) => Self::Fatal(error.to_string()),
        }
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Damaged { .. } | LogError::NotAttested { .. } => Self::Damaged(error.to_string()),
            error => Self::Fatal(error.to_string()),
        }
    }
}
