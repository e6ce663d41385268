//! EXPLAIN: plans as text.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::error::Result;
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan, execute_stream};
use futures::StreamExt;
use perigee_plan::Query;
use perigee_types::{SqlError, SqlResult, Value};

use super::error::{canceled, sql_error};
use super::runtime::{Job, QueryRuntime};
use super::view::ReadView;

/// What EXPLAIN shall show.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExplainOptions {
    /// Run the query; show rows and times.
    pub analyze: bool,
    /// Show the logical plan too.
    pub verbose: bool,
}

impl QueryRuntime {
    /// The lines of EXPLAIN for a query.
    ///
    /// # Errors
    /// Those of planning it and, with `analyze`, of running it.
    pub async fn explain(
        self: &Arc<Self>,
        query: &Query,
        parameters: &[Value],
        view: Arc<ReadView>,
        options: ExplainOptions,
    ) -> SqlResult<Vec<String>> {
        let cancel = view.cancel.clone();
        let job = Job {
            runtime: Arc::clone(self),
            logical: Arc::clone(&query.logical),
            replan: query.replan,
            parameters: parameters.to_vec(),
            view,
        };
        let task = self.spawn(async move { lines(&job, options).await.map_err(sql_error) })?;
        tokio::select! {
            () = cancel.cancelled() => Err(canceled()),
            done = task => done.map_err(SqlError::internal)?,
        }
    }
}

async fn lines(job: &Job, options: ExplainOptions) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let start = Instant::now();
    let (plan, state) = job.physical(None).await?;
    let planned = start.elapsed();
    let mut rows = 0;
    let start = Instant::now();
    if options.analyze {
        let mut batches = execute_stream(Arc::clone(&plan), state.task_ctx())?;
        while let Some(batch) = batches.next().await {
            rows += batch?.num_rows();
        }
    }
    let ran = start.elapsed();
    if options.verbose {
        lines.push("Logical plan:".to_owned());
        lines.extend(job.logical.display_indent().to_string().lines().map(|l| format!("  {l}")));
        lines.push("Physical plan:".to_owned());
    }
    node(plan.as_ref(), 0, options.analyze, &mut lines);
    if options.analyze {
        lines.push(format!("Planning Time: {}", milliseconds(planned)));
        lines.push(format!("Execution Time: {} ({rows} rows)", milliseconds(ran)));
    }
    Ok(lines)
}

/// One operator and what is under it.
fn node(plan: &dyn ExecutionPlan, depth: usize, analyze: bool, lines: &mut Vec<String>) {
    let mut line = String::new();
    if depth > 0 {
        let _ = write!(line, "{}->  ", " ".repeat(depth * 6 - 4));
    }
    let _ = write!(line, "{}", Line(plan));
    lines.push(line);
    if analyze && let Some(metrics) = plan.metrics() {
        let indent = " ".repeat(depth * 6 + 2);
        lines.extend(measured(&metrics).into_iter().map(|l| format!("{indent}{l}")));
    }
    for child in plan.children() {
        node(child.as_ref(), depth + 1, analyze, lines);
    }
}

/// An operator's own description on one line.
struct Line<'a>(&'a dyn ExecutionPlan);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt_as(DisplayFormatType::Default, f)
    }
}

/// Rows and time of an operator, then what it did per tier, spilled and pruned.
fn measured(metrics: &MetricsSet) -> Vec<String> {
    let rows = metrics.output_rows().unwrap_or(0);
    let busy = metrics.elapsed_compute().map_or(Duration::ZERO, |n| Duration::from_nanos(n as u64));
    let mut lines = vec![format!("rows={rows} time={}", milliseconds(busy))];
    let sum = |name: &str| metrics.sum_by_name(name).map_or(0, |v| v.as_usize());
    for tier in ["hot", "warm", "cold"] {
        let rows = sum(&format!("{tier}_rows"));
        if rows > 0 {
            let time = Duration::from_nanos(sum(&format!("{tier}_time")) as u64);
            lines.push(format!("{tier}: rows={rows} time={}", milliseconds(time)));
        }
    }
    lines.extend(files(metrics));
    let found = sum("index_rows");
    if found > 0 {
        lines.push(format!("by index: rows={found}"));
    }
    let own = sum("own_rows");
    if own > 0 {
        lines.push(format!("this transaction: rows={own}"));
    }
    let (read, pruned) = (sum("chunks_read"), sum("chunks_pruned"));
    if read + pruned > 0 {
        lines.push(format!("chunks: read={read} pruned={pruned}"));
    }
    let spilled = metrics.spilled_bytes().unwrap_or(0);
    if spilled > 0 {
        lines.push(format!("spilled: bytes={spilled}"));
    }
    let peak = metrics.iter().filter_map(|m| match m.value() {
        MetricValue::Gauge { name, gauge } if name == "peak_mem_used" || name == "build_mem_used" => {
            Some(gauge.value())
        }
        _ => None,
    });
    let peak = peak.max().unwrap_or(0);
    if peak > 0 {
        lines.push(format!("memory: bytes={peak}"));
    }
    lines
}

/// What was read of files in the object store, and what was left out there.
fn files(metrics: &MetricsSet) -> Option<String> {
    let bytes = metrics.sum_by_name("bytes_scanned")?.as_usize();
    let pruning = |wanted: &str| {
        let counted = metrics.iter().filter_map(|metric| match metric.value() {
            MetricValue::PruningMetrics { name, pruning_metrics } if name.as_ref() == wanted => {
                Some((pruning_metrics.matched(), pruning_metrics.pruned()))
            }
            _ => None,
        });
        counted.fold((0, 0), |(matched, pruned), (m, p)| (matched + m, pruned + p))
    };
    let names: std::collections::BTreeSet<&str> = metrics
        .iter()
        .filter(|metric| metric.value().name() == "bytes_scanned" && metric.value().as_usize() > 0)
        .flat_map(|metric| metric.labels().iter().filter(|label| label.name() == "filename").map(|label| label.value()))
        .collect();
    let (by_bounds, by_bloom) = (pruning("row_groups_pruned_statistics"), pruning("row_groups_pruned_bloom_filter"));
    let (_, pages) = pruning("page_index_pages_pruned");
    Some(format!(
        "files: read={} bytes={bytes} row groups: read={} pruned={} by bloom filter={} pages pruned={pages}",
        names.len(),
        by_bloom.0,
        by_bounds.1,
        by_bloom.1,
    ))
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1e3)
}
