//! What of a node the Admin service puts into diagnostics and cannot ask the engine for: settings, status, metrics, log lines.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use perigee_config::Config;
use perigee_grpc::NodeFiles;
use serde_json::{Value, json};

use crate::checks::Check;
use crate::status::Status;

/// Bytes of log lines, the last ones.
const LOG_BYTES_MAX: u64 = 1 << 20;

/// What is told of a node.
pub(crate) struct Report {
    /// The settings in force, as TOML.
    config: String,
    log_file: Option<PathBuf>,
    /// Weak: it has the assembly, and that the doors.
    status: Weak<Status>,
}

impl Report {
    /// Of a node that runs with this configuration.
    pub(crate) fn new(config: &Config, status: &Arc<Status>) -> Arc<Self> {
        Arc::new(Self { status: Arc::downgrade(status), ..Self::of(config) })
    }

    /// Of one without an operations door.
    pub(crate) fn alone(config: &Config) -> Arc<Self> {
        Arc::new(Self::of(config))
    }

    fn of(config: &Config) -> Self {
        let told = toml::Value::try_from(config).map(without_secrets);
        let config_text = told.and_then(|told| toml::to_string(&told)).unwrap_or_else(|error| format!("# {error}\n"));
        Self { config: config_text, log_file: config.telemetry.file.clone(), status: Weak::new() }
    }
}

impl NodeFiles for Report {
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let text = |name: &str, text: String| (name.to_owned(), text.into_bytes());
        let mut files = vec![text("version.json", pretty(&version())), text("config.toml", self.config.clone())];
        if let Some(status) = self.status.upgrade() {
            let assembly = status.assembly();
            let checks: serde_json::Map<String, Value> =
                assembly.map(|assembly| assembly.checks().iter().map(Check::shown).collect()).unwrap_or_default();
            let told = json!({
                "ready": status.ready().map_or_else(Value::from, |()| Value::from(true)),
                "uptime_seconds": status.uptime_seconds(),
                "checks": checks,
                "status": assembly.map(|assembly| assembly.status()),
                "replication": assembly.map(|assembly| assembly.replication()),
            });
            files.push(text("status.json", pretty(&told)));
            files.push(text("metrics.txt", status.metrics()));
        }
        if let Some(path) = &self.log_file {
            let tail = tail(path).unwrap_or_else(|error| format!("{}: {error}\n", path.display()).into_bytes());
            files.push(("log.txt".to_owned(), tail));
        }
        files
    }
}

/// The program and the machine.
fn version() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "architecture": std::env::consts::ARCH,
        "kernel": read("/proc/version"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": read("/proc/meminfo").and_then(|text| text.lines().next().map(str::to_owned)),
        "limits": read("/proc/self/limits"),
    })
}

/// Passwords are hidden where they are settings of their own; what stands in addresses is taken out here.
fn without_secrets(value: toml::Value) -> toml::Value {
    match value {
        toml::Value::String(text) => toml::Value::String(without_credentials(&text)),
        toml::Value::Array(values) => toml::Value::Array(values.into_iter().map(without_secrets).collect()),
        toml::Value::Table(table) => {
            toml::Value::Table(table.into_iter().map(|(name, value)| (name, without_secrets(value))).collect())
        }
        other => other,
    }
}

/// An address without the name and the password before its host, and without its query.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (place, query) = rest.split_once('?').map_or((rest, ""), |(place, _)| (place, "?***"));
    let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let host = host.rsplit_once('@').map_or_else(|| host.to_owned(), |(_, host)| format!("***@{host}"));
    format!("{scheme}://{host}{path}{query}")
}

/// The last whole lines of a file.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let begin = file.metadata()?.len().saturating_sub(LOG_BYTES_MAX);
    file.seek(SeekFrom::Start(begin))?;
    let mut tail = Vec::new();
    file.take(LOG_BYTES_MAX).read_to_end(&mut tail)?;
    if begin > 0
        && let Some(end) = tail.iter().position(|byte| *byte == b'\n')
    {
        tail.drain(..=end);
    }
    Ok(tail)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_without_what_proves_who_asks() {
        let check = |text: &str, expected: &str| assert_eq!(without_credentials(text), expected);
        check("s3://bucket/path", "s3://bucket/path");
        check("http://me:secret@host:4318/v1", "http://***@host:4318/v1");
        check("az://container/path?sig=secret", "az://container/path?***");
        check("http://a@b@host", "http://***@host");
        check("127.0.0.1:8000", "127.0.0.1:8000");
    }

    #[test]
    fn settings_are_told_without_passwords() {
        let mut config = Config::default();
        config.security.superuser_password = Some(perigee_config::Secret::new("hidden"));
        config.backup.url = Some("s3://key:hidden@bucket/path?token=hidden".to_owned());
        let files = Report::alone(&config).files();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["version.json", "config.toml"]);
        let text = String::from_utf8(files[1].1.clone()).unwrap();
        assert!(!text.contains("hidden") && text.contains("s3://***@bucket/path?***"), "{text}");
        assert!(text.contains("[listen]"), "{text}");
    }

    #[test]
    fn the_last_lines_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(tail(&path).unwrap(), b"one\ntwo\n");
        let line = format!("{}\n", "x".repeat(99));
        std::fs::write(&path, line.repeat(20_000)).unwrap();
        let tail = tail(&path).unwrap();
        assert!(tail.len() as u64 <= LOG_BYTES_MAX && tail.len() % line.len() == 0 && !tail.is_empty());
    }
}
