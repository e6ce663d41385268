//! Log lines to standard error, or to a file.

use std::io::IsTerminal;
use std::sync::Mutex;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::TelemetryError;
use crate::log_file::{LogFile, Rotating};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line: `timestamp`, `level`, `target`, `message` and the event's fields.
    Json,
}

/// Which lines there are, to be said anew.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// From now on there are the lines that `filter` lets through.
    ///
    /// # Errors
    /// [`TelemetryError::Filter`] for a filter that does not parse; it stays as it was.
    pub fn set(&self, filter: &str) -> Result<(), TelemetryError> {
        let wrong = |reason: String| TelemetryError::Filter { filter: filter.to_owned(), reason };
        let parsed = parse(filter)?;
        self.0.modify(|current| *current = parsed).map_err(|error| wrong(error.to_string()))
    }
}

/// Sends the process's log lines to a file, or to standard error.
///
/// `filter` is a level or directives as in `info,perigee_storage=debug`.
///
/// # Errors
/// [`TelemetryError::Filter`] for a filter that does not parse, [`TelemetryError::File`] for a file that cannot be written,
/// [`TelemetryError::Twice`] on a second call.
pub fn init(filter: &str, format: LogFormat, file: Option<&LogFile>) -> Result<LogLevel, TelemetryError> {
    let (layer, level) = match file {
        Some(place) => {
            let wrong = |source| TelemetryError::File { path: place.path.clone(), source };
            let file = Rotating::open(place.clone()).map_err(wrong)?;
            layer(filter, format, Mutex::new(file), false)?
        }
        None => layer(filter, format, std::io::stderr, std::io::stderr().is_terminal())?,
    };
    tracing_subscriber::registry().with(layer).try_init().map_err(|_| TelemetryError::Twice("logging"))?;
    Ok(level)
}

/// What libraries below say at `info`. That a member is away consensus says once, where openraft says it with each try.
const QUIET: &str = ",openraft=warn,openraft::replication=error,openraft::engine::handler::replication_handler=error,\
     fjall=warn,lsm_tree=warn";

/// Checks a filter without setting anything up.
///
/// # Errors
/// [`TelemetryError::Filter`].
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    let wrong = |reason: String| TelemetryError::Filter { filter: filter.to_owned(), reason };
    // A misspelt level such as "inof" would be read as the name of a target, and silence everything.
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    for part in filter.split(',').map(str::trim) {
        if !part.contains(['=', ':', '[', '_']) && !levels.contains(&part.to_ascii_lowercase().as_str()) {
            return Err(wrong(format!("{part:?} is no level; use one of {}", levels.join(", "))));
        }
    }
    // Libraries below tell of every step at `info`; an operator wants to hear of trouble.
    let quiet = if filter.trim().eq_ignore_ascii_case("info") { QUIET } else { "" };
    EnvFilter::builder().parse(format!("{filter}{quiet}")).map_err(|error| wrong(error.to_string()))
}

fn layer<W>(
    filter: &str,
    format: LogFormat,
    writer: W,
    color: bool,
) -> Result<(Box<dyn Layer<Registry> + Send + Sync>, LogLevel), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, level) = reload::Layer::new(parse(filter)?);
    let layer = fmt::layer().with_writer(writer).with_ansi(color);
    let layer = match format {
        LogFormat::Text => layer.with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    };
    Ok((layer, LogLevel(level)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(filter: &str, format: LogFormat) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let (layer, level) = layer(filter, format, move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(index = 7, "checkpoint done");
            tracing::debug!("detail");
            level.set("error").unwrap();
            assert!(level.set("loud").is_err());
            tracing::warn!("not heard any more");
            level.set(filter).unwrap();
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_lines_carry_fields() {
        let text = lines("info", LogFormat::Text);
        assert!(text.contains("INFO") && text.contains("checkpoint done") && text.contains("index=7"), "{text}");
        assert!(!text.contains("detail") && !text.contains("any more"), "{text}");
    }

    #[test]
    fn json_lines_are_objects() {
        let text = lines("debug", LogFormat::Json);
        assert_eq!(text.lines().count(), 2, "{text}");
        let first = text.lines().next().unwrap();
        assert!(first.starts_with('{') && first.ends_with('}'), "{first}");
        assert!(first.contains("\"message\":\"checkpoint done\"") && first.contains("\"index\":7"), "{first}");
    }

    #[test]
    fn filters_are_checked() {
        for good in ["info", "WARN", "info,perigee_storage=debug", "perigee_log=trace"] {
            assert!(check_filter(good).is_ok(), "{good}");
        }
        for bad in ["inof", "info,perigee_log=loud", ""] {
            assert!(check_filter(bad).is_err(), "{bad}");
        }
    }
}
