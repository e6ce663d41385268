//! How far a node is: asked by the operations door, set by the node.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use perigee_telemetry::{Metrics, names};

use crate::assembly::Assembly;

/// The life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Recovering.
    Starting,
    /// The doors are open.
    Serving,
    /// The doors are closing.
    Stopping,
}

/// What the operations door shows. Shared by the node and the door.
pub(crate) struct Status {
    id: String,
    started: Instant,
    phase: AtomicU8,
    assembly: OnceLock<Arc<Assembly>>,
    metrics: Metrics,
}

impl Status {
    /// A node that has just started.
    pub(crate) fn new(id: &str, metrics: Metrics) -> Self {
        metrics::gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        metrics::gauge!(names::START_TIME_SECONDS).set(now.as_secs_f64());
        let (phase, assembly) = (AtomicU8::new(Phase::Starting as u8), OnceLock::new());
        Self { id: id.to_owned(), started: Instant::now(), phase, assembly, metrics }
    }

    /// The node has recovered and its doors are open.
    pub(crate) fn serving(&self, assembly: Arc<Assembly>) {
        // Called once per process; a second assembly would be ignored.
        let _ = self.assembly.set(assembly);
        self.phase.store(Phase::Serving as u8, Ordering::Release);
    }

    /// The node has been told to stop.
    pub(crate) fn stopping(&self) {
        self.phase.store(Phase::Stopping as u8, Ordering::Release);
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Stopping,
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// What has recovered; `None` until then.
    pub(crate) fn assembly(&self) -> Option<&Arc<Assembly>> {
        self.assembly.get()
    }

    /// Whether reads and writes can be served, or why not.
    pub(crate) fn ready(&self) -> Result<(), String> {
        match (self.phase(), self.assembly()) {
            (Phase::Serving, Some(assembly)) => assembly.ready(),
            (Phase::Stopping, _) => Err("the node is stopping".to_owned()),
            _ => Err("the node is starting".to_owned()),
        }
    }

    /// All metrics in Prometheus' text format.
    pub(crate) fn metrics(&self) -> String {
        metrics::gauge!(names::READY).set(if self.ready().is_ok() { 1.0 } else { 0.0 });
        if let Some(bytes) = resident_bytes() {
            metrics::gauge!(names::MEMORY_RSS_BYTES).set(bytes as f64);
        }
        if let Some(assembly) = self.assembly() {
            assembly.measure();
        }
        self.metrics.render()
    }
}

/// The process's resident memory, on Linux.
pub(crate) fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kb: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kb << 10)
}
