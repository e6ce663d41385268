//! The recorder behind the `metrics` macros.

use std::sync::Arc;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::TelemetryError;
use crate::names::{ALL, Kind, LABELLED};

/// Upper bounds of histograms of times, in seconds: 10 us to 10 s.
pub(crate) const SECONDS: [f64; 19] = [
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0,
];

/// Reads values that nobody counts while they happen, such as the size of a folder.
type Probe = Arc<dyn Fn() + Send + Sync>;

/// The node's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    probe: Option<Probe>,
}

impl Metrics {
    /// Makes the process's recorder and describes every metric.
    ///
    /// # Errors
    /// [`TelemetryError::Twice`] on a second call.
    pub fn install() -> Result<Self, TelemetryError> {
        let wrong = |error: metrics_exporter_prometheus::BuildError| TelemetryError::Metrics(error.to_string());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .map_err(wrong)?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Twice("the metrics recorder"))?;
        for metric in ALL {
            match metric.kind {
                Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
                Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
                Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
            }
            // What has not happened yet is 0, not absent: whoever asks how much a counter has grown misses the first otherwise.
            if metric.kind == Kind::Counter && !LABELLED.contains(&metric.name) {
                metrics::counter!(metric.name).increment(0);
            }
        }
        Ok(Self { handle, probe: None })
    }

    /// Calls `probe` before each rendering, to set gauges.
    #[must_use]
    pub fn with_probe(mut self, probe: impl Fn() + Send + Sync + 'static) -> Self {
        self.probe = Some(Arc::new(probe));
        self
    }

    /// All metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        if let Some(probe) = &self.probe {
            probe();
        }
        self.handle.run_upkeep();
        let mut text = self.handle.render();
        crate::measured::render(&mut text);
        text
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names;

    #[test]
    fn metrics_are_rendered_for_prometheus() {
        let metrics = Metrics::install().unwrap().with_probe(|| metrics::gauge!(names::SESSIONS).set(3.0));
        metrics::counter!(names::COMPAT_GAPS_TOTAL, "code" => "0A000").increment(5);
        metrics::histogram!(names::CHECKPOINT_SECONDS).record(0.0002);
        let text = metrics.render();
        for part in [
            "# HELP perigee_sessions Open sessions.",
            "# TYPE perigee_sessions gauge",
            "perigee_sessions 3",
            "perigee_rows_expired_total 0",
            "perigee_compat_gaps_total{code=\"0A000\"} 5",
            "perigee_checkpoint_seconds_bucket{le=\"0.00025\"} 1",
            "perigee_checkpoint_seconds_count 1",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(matches!(Metrics::install(), Err(TelemetryError::Twice(_))));
    }
}
