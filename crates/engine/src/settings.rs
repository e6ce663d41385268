//! The settings of a session (PostgreSQL's GUCs): what SET, SHOW and RESET know.
//!
//! Each setting stands once in [`DEFINITIONS`] with its default and the check of its values. Unknown names are refused
//! with 42704, except names with a dot, which anyone may use for their own purposes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use perigee_types::text::{ByteaOutput, DateStyle, IntervalStyle, OutputSettings, TimeZone};
use perigee_types::{SqlError, SqlResult, SqlState};
use rustc_hash::FxHashMap;

/// PostgreSQL's version that Perigee answers as. From 15 on psql asks `\d` with a set-returning function over columns of
/// the outer query, which the planner does not take yet; nothing else hangs on the number.
pub const SERVER_VERSION: &str = "16.10";
/// What `pg_dump` is told instead: it refuses a server that is newer than itself, and what it asks of a server of this version
/// the catalogs answer too.
pub const SERVER_VERSION_FOR_DUMPS: &str = "15.14";
/// [`SERVER_VERSION`] as a number.
pub const SERVER_VERSION_NUM: &str = "160010";

/// How the values of a setting are checked and written.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// on or off
    Bool,
    /// A whole number in a range.
    Int(i64, i64),
    /// Milliseconds, also with a unit; shown with the largest unit that fits.
    Milliseconds,
    /// The same, or -1 for none.
    MillisecondsOrNone,
    /// A number with a fraction.
    Real(f64, f64),
    /// One of these words.
    Enum(&'static [&'static str]),
    /// Any text.
    Text,
    /// A time zone.
    TimeZone,
    /// Names, separated by commas.
    Names,
    /// A switch that may be set, and only to on.
    On,
    /// Cannot be changed.
    Fixed,
}

/// One setting.
#[derive(Debug)]
pub struct Definition {
    /// Its name as SHOW ALL prints it.
    pub name: &'static str,
    /// How its values are checked.
    pub kind: Kind,
    /// What it is without SET.
    pub default: &'static str,
    /// Whether the client is told of each change (ParameterStatus).
    pub reported: bool,
    /// What it does; or that it is accepted without effect.
    pub description: &'static str,
}

const fn of(name: &'static str, kind: Kind, default: &'static str, description: &'static str) -> Definition {
    Definition { name, kind, default, reported: false, description }
}

const fn reported(name: &'static str, kind: Kind, default: &'static str, description: &'static str) -> Definition {
    Definition { name, kind, default, reported: true, description }
}

const ISOLATION: &[&str] = &["read committed", "repeatable read", "serializable", "read uncommitted"];
const MESSAGES: &[&str] =
    &["debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "info", "notice", "warning", "error"];
const NO_EFFECT: &str = "Accepted for clients that set it; it has no effect here.";

/// All settings, by name.
pub const DEFINITIONS: &[Definition] = &[
    reported("application_name", Kind::Text, "", "The application's name in pg_stat_activity and logs."),
    of("backslash_quote", Kind::Enum(&["safe_encoding", "on", "off"]), "safe_encoding", NO_EFFECT),
    of("bytea_output", Kind::Enum(&["hex", "escape"]), "hex", "Text format of bytea."),
    of("check_function_bodies", Kind::Bool, "on", NO_EFFECT),
    reported("client_encoding", Kind::Enum(&["utf8", "sql_ascii"]), "UTF8", "Always UTF8."),
    of("client_min_messages", Kind::Enum(MESSAGES), "notice", "The least serious notice that is sent."),
    of("cursor_tuple_fraction", Kind::Real(0.0, 1.0), "0.1", NO_EFFECT),
    reported("DateStyle", Kind::Text, "ISO, MDY", "Text format of dates, and the order of input fields."),
    of("default_table_access_method", Kind::Text, "heap", NO_EFFECT),
    of("default_tablespace", Kind::Text, "", NO_EFFECT),
    of("default_transaction_deferrable", Kind::Bool, "off", NO_EFFECT),
    of("default_transaction_isolation", Kind::Enum(ISOLATION), "read committed", "Isolation of new transactions."),
    reported("default_transaction_read_only", Kind::Bool, "off", "Whether new transactions are read only."),
    of("durability", Kind::Fixed, "fsync", "When a commit is acknowledged: fsync, or interval on a single node."),
    of("enable_bitmapscan", Kind::Bool, "on", NO_EFFECT),
    of("enable_hashagg", Kind::Bool, "on", NO_EFFECT),
    of("enable_incremental_sort", Kind::Bool, "on", NO_EFFECT),
    of("enable_indexonlyscan", Kind::Bool, "on", NO_EFFECT),
    of("enable_material", Kind::Bool, "on", NO_EFFECT),
    of("enable_memoize", Kind::Bool, "on", NO_EFFECT),
    of("enable_partitionwise_aggregate", Kind::Bool, "off", NO_EFFECT),
    of("enable_partitionwise_join", Kind::Bool, "off", NO_EFFECT),
    of("enable_parallel_append", Kind::Bool, "on", NO_EFFECT),
    of("enable_parallel_hash", Kind::Bool, "on", NO_EFFECT),
    of("enable_sort", Kind::Bool, "on", NO_EFFECT),
    of("enable_tidscan", Kind::Bool, "on", NO_EFFECT),
    of("escape_string_warning", Kind::Bool, "on", NO_EFFECT),
    of("geqo", Kind::Bool, "on", NO_EFFECT),
    of("geqo_threshold", Kind::Int(2, i32::MAX as i64), "12", NO_EFFECT),
    of("force_parallel_mode", Kind::Enum(&["off", "on", "regress"]), "off", NO_EFFECT),
    of("max_stack_depth", Kind::Text, "2MB", NO_EFFECT),
    of("parallel_leader_participation", Kind::Bool, "on", NO_EFFECT),
    of("constraint_exclusion", Kind::Enum(&["partition", "on", "off"]), "partition", NO_EFFECT),
    of("cpu_index_tuple_cost", Kind::Real(0.0, 1e10), "0.005", NO_EFFECT),
    of("cpu_operator_cost", Kind::Real(0.0, 1e10), "0.0025", NO_EFFECT),
    of("cpu_tuple_cost", Kind::Real(0.0, 1e10), "0.01", NO_EFFECT),
    of("default_statistics_target", Kind::Int(1, 10_000), "100", NO_EFFECT),
    of("default_toast_compression", Kind::Enum(&["pglz", "lz4"]), "pglz", NO_EFFECT),
    of("effective_cache_size", Kind::Text, "4GB", NO_EFFECT),
    of("from_collapse_limit", Kind::Int(1, i32::MAX as i64), "8", NO_EFFECT),
    of("hash_mem_multiplier", Kind::Real(1.0, 1000.0), "2", NO_EFFECT),
    of("jit_above_cost", Kind::Real(-1.0, 1e10), "100000", NO_EFFECT),
    of("join_collapse_limit", Kind::Int(1, i32::MAX as i64), "8", NO_EFFECT),
    of("min_parallel_index_scan_size", Kind::Text, "512kB", NO_EFFECT),
    of("min_parallel_table_scan_size", Kind::Text, "8MB", NO_EFFECT),
    of("parallel_setup_cost", Kind::Real(0.0, 1e10), "1000", NO_EFFECT),
    of("parallel_tuple_cost", Kind::Real(0.0, 1e10), "0.1", NO_EFFECT),
    of("plan_cache_mode", Kind::Enum(&["auto", "force_generic_plan", "force_custom_plan"]), "auto", NO_EFFECT),
    of("seq_page_cost", Kind::Real(0.0, 1e10), "1", NO_EFFECT),
    of("enable_hashjoin", Kind::Bool, "on", NO_EFFECT),
    of("enable_mergejoin", Kind::Bool, "on", NO_EFFECT),
    of("enable_nestloop", Kind::Bool, "on", NO_EFFECT),
    of("enable_seqscan", Kind::Bool, "on", NO_EFFECT),
    of("enable_indexscan", Kind::Bool, "on", NO_EFFECT),
    of("extra_float_digits", Kind::Int(-15, 3), "1", "Digits of printed floats: 1 and more is exact."),
    of("idle_in_transaction_session_timeout", Kind::Milliseconds, "0", "Ends a session that idles in a transaction."),
    of("idle_session_timeout", Kind::Milliseconds, "0", "Ends a session that idles."),
    reported("in_hot_standby", Kind::Fixed, "off", "Never: every node takes writes."),
    reported("integer_datetimes", Kind::Fixed, "on", "Times are 64-bit integers."),
    reported(
        "IntervalStyle",
        Kind::Enum(&["postgres", "iso_8601", "postgres_verbose", "sql_standard"]),
        "postgres",
        "Text format of intervals.",
    ),
    of("is_superuser", Kind::Fixed, "on", "Whether the role may do everything."),
    of("jit", Kind::Bool, "off", NO_EFFECT),
    of("lc_collate", Kind::Fixed, "C", "Text sorts by bytes."),
    of("lc_ctype", Kind::Fixed, "C.UTF-8", "Characters are Unicode."),
    of("lc_messages", Kind::Text, "C", NO_EFFECT),
    of("lc_monetary", Kind::Text, "C", NO_EFFECT),
    of("lc_numeric", Kind::Text, "C", NO_EFFECT),
    of("lc_time", Kind::Text, "C", NO_EFFECT),
    of("lock_timeout", Kind::Milliseconds, "0", "How long a statement waits for a lock; 0 is for ever."),
    of(
        crate::slow::SETTING,
        Kind::MillisecondsOrNone,
        "-1",
        "Statements that took so many milliseconds are logged; -1 is none. Superusers set it.",
    ),
    of("log_statement", Kind::Enum(&["none", "ddl", "mod", "all"]), "none", NO_EFFECT),
    of("maintenance_work_mem", Kind::Text, "64MB", NO_EFFECT),
    of("max_connections", Kind::Fixed, "1000", "Sessions that may be open."),
    of("max_identifier_length", Kind::Fixed, "63", "Bytes of an identifier."),
    of("max_index_keys", Kind::Fixed, "32", "Columns of an index."),
    of("max_parallel_workers_per_gather", Kind::Int(0, 1024), "2", NO_EFFECT),
    of("max_prepared_transactions", Kind::Fixed, "0", "Two-phase commit is not supported."),
    of("perigee.max_staleness", Kind::Milliseconds, "0", "How old a local read may be; 0 for any age."),
    of("perigee.min_index", Kind::Int(0, i64::MAX), "0", "A local read waits until this entry of the log is applied."),
    of(
        "perigee.read_consistency",
        Kind::Enum(&["linearizable", "local"]),
        "linearizable",
        "Whether a node that follows may answer reads from what it has.",
    ),
    of("password_encryption", Kind::Enum(&["scram-sha-256"]), "scram-sha-256", "How passwords are kept."),
    of("random_page_cost", Kind::Real(0.0, 1e10), "4", NO_EFFECT),
    of("role", Kind::Text, "none", "The role whose rights count: SET ROLE."),
    of("row_security", Kind::Bool, "on", NO_EFFECT),
    of("search_path", Kind::Names, "\"$user\", public", "Schemas that unqualified names are looked up in."),
    reported("server_encoding", Kind::Fixed, "UTF8", "Text is stored as UTF-8."),
    reported("server_version", Kind::Fixed, SERVER_VERSION, "PostgreSQL's version that Perigee answers as."),
    of("server_version_num", Kind::Fixed, SERVER_VERSION_NUM, "The same as a number."),
    of("session_authorization", Kind::Text, "", "The session's user: SET SESSION AUTHORIZATION."),
    of("session_replication_role", Kind::Enum(&["origin", "replica", "local"]), "origin", NO_EFFECT),
    reported("standard_conforming_strings", Kind::On, "on", "Backslashes are plain in '…'."),
    of("statement_timeout", Kind::Milliseconds, "0", "How long a statement may run; 0 is for ever."),
    of("synchronize_seqscans", Kind::Bool, "on", NO_EFFECT),
    of(
        "synchronous_commit",
        Kind::Enum(&["on", "off", "local", "remote_write", "remote_apply", "true", "false"]),
        "on",
        "Accepted; a commit is acknowledged as `durability` says, never earlier.",
    ),
    reported("TimeZone", Kind::TimeZone, "UTC", "Zone of printed and parsed timestamps."),
    of("transaction_deferrable", Kind::Bool, "off", NO_EFFECT),
    of("transaction_isolation", Kind::Enum(ISOLATION), "read committed", "Isolation of this transaction."),
    of("transaction_read_only", Kind::Bool, "off", "Whether this transaction is read only."),
    of("vacuum_freeze_min_age", Kind::Int(0, 1_000_000_000), "50000000", NO_EFFECT),
    of("wal_level", Kind::Fixed, "logical", "Every write is in the log."),
    of("work_mem", Kind::Text, "4MB", NO_EFFECT),
    of("xmloption", Kind::Enum(&["content", "document"]), "content", NO_EFFECT),
];

/// Finds a setting; names are compared without case.
#[must_use]
pub fn definition(name: &str) -> Option<&'static Definition> {
    // Each statement asks for some.
    static BY_NAME: LazyLock<FxHashMap<String, &'static Definition>> =
        LazyLock::new(|| DEFINITIONS.iter().map(|d| (d.name.to_ascii_lowercase(), d)).collect());
    BY_NAME.get(&*lower(name)).copied()
}

/// A name as it stands in maps.
fn lower(name: &str) -> Cow<'_, str> {
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

/// A value as SHOW would print it, if the setting may have it.
///
/// # Errors
/// As [`Settings::set`].
pub fn checked(name: &str, value: &str) -> SqlResult<String> {
    let mut settings = Settings::default();
    settings.set(name, Some(value))?;
    settings.show(name)
}

fn unknown(name: &str) -> SqlError {
    SqlError::new(SqlState::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
}

/// The values of one session. Cheap to clone: only what differs from the defaults is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// What the server or the start-up message set: what RESET goes back to.
    base: BTreeMap<String, String>,
    /// What SET has changed.
    changed: BTreeMap<String, String>,
    /// What they say about the text of values, read once per change.
    output: OutputSettings,
}

impl Settings {
    /// Sets what RESET goes back to, at the start of a session.
    ///
    /// # Errors
    /// As [`Settings::set`]; fixed settings are taken as they are.
    pub fn set_base(&mut self, name: &str, value: &str) -> SqlResult<()> {
        let value = match definition(name) {
            Some(d) if matches!(d.kind, Kind::Fixed) => value.to_owned(),
            Some(d) => check(d, value)?,
            None if name.contains('.') => value.to_owned(),
            None => return Err(unknown(name)),
        };
        self.base.insert(name.to_ascii_lowercase(), value);
        self.output = self.read_output();
        Ok(())
    }

    /// The value, `None` for an unknown name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let key = lower(name);
        self.changed
            .get(&*key)
            .or_else(|| self.base.get(&*key))
            .map(String::as_str)
            .or_else(|| definition(&key).map(|d| d.default))
    }

    /// The value as SHOW prints it.
    ///
    /// # Errors
    /// `42704` for an unknown name.
    pub fn show(&self, name: &str) -> SqlResult<String> {
        let value = self.get(name).ok_or_else(|| unknown(name))?;
        Ok(match definition(name).map(|d| d.kind) {
            Some(Kind::Milliseconds) => show_milliseconds(value.parse().unwrap_or(0)),
            Some(Kind::MillisecondsOrNone) => value.parse().map_or_else(|_| value.to_owned(), show_milliseconds),
            _ => value.to_owned(),
        })
    }

    /// Changes a setting; `None` goes back to the default. Gives its proper name when clients are told of it.
    ///
    /// # Errors
    /// `42704` unknown, `55P02` fixed, `22023` a value it cannot have.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> SqlResult<Option<&'static str>> {
        let key = name.to_ascii_lowercase();
        let Some(definition) = definition(name) else {
            if !name.contains('.') {
                return Err(unknown(name));
            }
            match value {
                Some(value) => self.changed.insert(key, value.to_owned()),
                None => self.changed.remove(&key),
            };
            return Ok(None);
        };
        if matches!(definition.kind, Kind::Fixed) {
            return Err(SqlError::new(
                SqlState::CantChangeRuntimeParam,
                format!("parameter \"{}\" cannot be changed", definition.name),
            ));
        }
        match value {
            Some(value) => self.changed.insert(key, check(definition, value)?),
            None => self.changed.remove(&key),
        };
        self.output = self.read_output();
        Ok(definition.reported.then_some(definition.name))
    }

    /// RESET ALL: gives the proper names of the changed settings that clients are told of.
    pub fn reset_all(&mut self) -> Vec<&'static str> {
        let mut changed = std::mem::take(&mut self.changed);
        // Who the session acts as is no matter of its settings.
        for name in ["role", "session_authorization"] {
            self.changed.extend(changed.remove_entry(name));
        }
        self.output = self.read_output();
        changed.keys().filter_map(|key| definition(key)).filter(|d| d.reported).map(|d| d.name).collect()
    }

    /// A duration in milliseconds; zero is none.
    #[must_use]
    pub fn duration(&self, name: &str) -> Option<Duration> {
        // Asked for by every statement: names are lower case here and every default is none.
        let value = self.changed.get(name).or_else(|| self.base.get(name))?;
        value.parse().ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    /// From which duration on statements are logged.
    pub(crate) fn least_duration_logged(&self) -> Option<Duration> {
        // Asked for by every statement, as above.
        let value = self.changed.get(crate::slow::SETTING).or_else(|| self.base.get(crate::slow::SETTING))?;
        value.parse().ok().map(Duration::from_millis)
    }

    /// Whether a boolean setting is on.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("on")
    }

    /// Own settings (with a dot in the name) and what differs from the defaults, for `current_setting`.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.base.iter().chain(&self.changed).map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// What RESET goes back to, where that is no default.
    pub fn base(&self) -> impl Iterator<Item = (&str, &str)> {
        self.base.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What SET has changed.
    #[must_use]
    pub fn changed(&self) -> Vec<(String, String)> {
        self.changed.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// What the settings say about the text of values.
    #[must_use]
    pub fn output(&self) -> OutputSettings {
        self.output
    }

    fn read_output(&self) -> OutputSettings {
        let (date_style, date_order) =
            self.get("DateStyle").and_then(|text| DateStyle::parse(text, Default::default())).unwrap_or_default();
        OutputSettings {
            time_zone: self.get("TimeZone").and_then(TimeZone::parse).unwrap_or_default(),
            date_style,
            date_order,
            interval_style: self.get("IntervalStyle").and_then(IntervalStyle::parse).unwrap_or_default(),
            bytea_output: if self.get("bytea_output") == Some("escape") {
                ByteaOutput::Escape
            } else {
                ByteaOutput::Hex
            },
            extra_float_digits: self.get("extra_float_digits").and_then(|v| v.parse().ok()).unwrap_or(1),
            now: None,
        }
    }

    /// The schemas of `search_path`, `"$user"` replaced.
    #[must_use]
    pub fn search_path(&self, user: &str) -> Vec<String> {
        split_names(self.get("search_path").unwrap_or_default())
            .into_iter()
            .map(|name| if name == "$user" { user.to_owned() } else { name })
            .collect()
    }
}

/// What is kept of a value that is a name, where it is too long.
fn cut_name(value: &str) -> Option<&str> {
    const NAME_BYTES_MAX: usize = 63;
    (value.len() > NAME_BYTES_MAX).then(|| &value[..value.floor_char_boundary(NAME_BYTES_MAX)])
}

/// What is said of a value of `application_name` that is cut.
pub(crate) fn truncation(name: &str, value: &str) -> Option<String> {
    let cut = cut_name(value).filter(|_| name.eq_ignore_ascii_case("application_name"))?;
    Some(format!("identifier \"{value}\" will be truncated to \"{cut}\""))
}

fn check(definition: &Definition, value: &str) -> SqlResult<String> {
    let invalid = || {
        SqlError::new(
            SqlState::InvalidParameterValue,
            format!("invalid value for parameter \"{}\": \"{value}\"", definition.name),
        )
    };
    let trimmed = value.trim();
    Ok(match definition.kind {
        Kind::Bool => parse_bool(trimmed).map(|on| if on { "on" } else { "off" }.to_owned()).ok_or_else(|| {
            SqlError::new(
                SqlState::InvalidParameterValue,
                format!("parameter \"{}\" requires a Boolean value", definition.name),
            )
        })?,
        Kind::On => match parse_bool(trimmed) {
            Some(true) => "on".to_owned(),
            Some(false) => return Err(SqlError::unsupported(format_args!("{} = off", definition.name))),
            None => {
                return Err(SqlError::new(
                    SqlState::InvalidParameterValue,
                    format!("parameter \"{}\" requires a Boolean value", definition.name),
                ));
            }
        },
        Kind::Int(low, high) => {
            let number: i64 = trimmed.parse().map_err(|_| invalid())?;
            if number < low || number > high {
                return Err(SqlError::new(
                    SqlState::InvalidParameterValue,
                    format!(
                        "{number} is outside the valid range for parameter \"{}\" ({low} .. {high})",
                        definition.name
                    ),
                ));
            }
            number.to_string()
        }
        Kind::MillisecondsOrNone if trimmed == "-1" => trimmed.to_owned(),
        Kind::Milliseconds | Kind::MillisecondsOrNone => parse_milliseconds(trimmed).ok_or_else(invalid)?.to_string(),
        Kind::Real(low, high) => {
            let number: f64 = trimmed.parse().map_err(|_| invalid())?;
            if !(low..=high).contains(&number) {
                return Err(invalid());
            }
            trimmed.to_owned()
        }
        Kind::Enum(words) if definition.name == "client_encoding" => {
            // Names of encodings are compared without what is neither letter nor digit: asyncpg writes 'utf-8' in quotes.
            let name: String = trimmed.chars().filter(char::is_ascii_alphanumeric).collect();
            match name.to_ascii_lowercase().as_str() {
                "utf8" | "unicode" => "UTF8".to_owned(),
                "sqlascii" => "SQL_ASCII".to_owned(),
                _ => return Err(invalid().hint(format!("available values: {}", words.join(", ")))),
            }
        }
        Kind::Enum(words) => {
            let lower = trimmed.to_ascii_lowercase();
            if !words.contains(&lower.as_str()) {
                return Err(invalid().hint(format!("available values: {}", words.join(", "))));
            }
            lower
        }
        Kind::Text if definition.name == "DateStyle" => {
            let (style, order) = DateStyle::parse(trimmed, Default::default()).ok_or_else(invalid)?;
            style.text(order)
        }
        Kind::Text if definition.name == "application_name" => cut_name(value).unwrap_or(value).to_owned(),
        Kind::Text | Kind::Names => value.to_owned(),
        Kind::TimeZone => match TimeZone::parse(trimmed) {
            Some(TimeZone::Named(zone)) => zone.name().to_owned(),
            Some(TimeZone::Utc) if trimmed.eq_ignore_ascii_case("gmt") => "GMT".to_owned(),
            Some(TimeZone::Utc) => "UTC".to_owned(),
            Some(TimeZone::Fixed(_)) => trimmed.to_owned(),
            None => return Err(invalid()),
        },
        Kind::Fixed => return Err(invalid()),
    })
}

/// PostgreSQL's spellings of a boolean, also cut short.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    let short = |word: &str, least: usize| lower.len() >= least && word.starts_with(&lower);
    if short("true", 1) || short("yes", 1) || lower == "on" || lower == "1" {
        Some(true)
    } else if short("false", 1) || short("no", 1) || short("off", 2) || lower == "0" {
        Some(false)
    } else {
        None
    }
}

fn parse_milliseconds(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let number: f64 = digits.trim().parse().ok()?;
    let factor = match text.get(digits.len()..)?.trim() {
        "" | "ms" => 1.0,
        "us" => 0.001,
        "s" => 1e3,
        "min" => 6e4,
        "h" => 3.6e6,
        "d" => 8.64e7,
        _ => return None,
    };
    let total = (number * factor).round();
    (0.0..=f64::from(i32::MAX)).contains(&total).then_some(total as u64)
}

fn show_milliseconds(ms: u64) -> String {
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)] {
        if ms > 0 && ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    if ms == 0 { "0".to_owned() } else { format!("{ms}ms") }
}

/// Splits a list of identifiers; unquoted ones are folded to lower case.
#[must_use]
pub fn split_names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut chars = list.chars().peekable();
    let mut name = String::new();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                name.push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            c if c.is_whitespace() && !quoted => {}
            c if quoted => name.push(c),
            c => name.push(c.to_ascii_lowercase()),
        }
    }
    names.push(name);
    names.retain(|n| !n.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_written_as_postgresql_does() {
        let check = |name: &str, value: &str, want: Result<&str, SqlState>| {
            let mut settings = Settings::default();
            let got = settings
                .set(name, Some(value))
                .map_err(|e| e.state())
                .and_then(|_| settings.show(name).map_err(|e| e.state()));
            assert_eq!(got.as_deref().map_err(|e| *e), want, "{name} = {value}");
        };
        check("statement_timeout", "90s", Ok("90s"));
        check("statement_timeout", "60000", Ok("1min"));
        check("statement_timeout", "1500", Ok("1500ms"));
        check("log_min_duration_statement", "250ms", Ok("250ms"));
        check("log_min_duration_statement", "1h", Ok("1h"));
        check("log_min_duration_statement", "-1", Ok("-1"));
        check("log_min_duration_statement", "-2", Err(SqlState::InvalidParameterValue));
        check("lock_timeout", "0", Ok("0"));
        check("LOCK_TIMEOUT", "x", Err(SqlState::InvalidParameterValue));
        check("default_transaction_read_only", "TRUE", Ok("on"));
        check("extra_float_digits", "3", Ok("3"));
        check("extra_float_digits", "4", Err(SqlState::InvalidParameterValue));
        check("client_encoding", "utf8", Ok("UTF8"));
        check("client_encoding", "'utf-8'", Ok("UTF8"));
        check("client_encoding", "sql_ascii", Ok("SQL_ASCII"));
        check("client_encoding", "latin1", Err(SqlState::InvalidParameterValue));
        check("datestyle", "iso, dmy", Ok("ISO, DMY"));
        check("server_version", "9", Err(SqlState::CantChangeRuntimeParam));
        check("nonsense", "1", Err(SqlState::UndefinedObject));
        check("my.own", "x", Ok("x"));
    }

    #[test]
    fn the_search_path_knows_quotes_and_the_user() {
        let mut settings = Settings::default();
        assert_eq!(settings.search_path("Ann"), ["Ann", "public"]);
        settings.set("search_path", Some("A, \"B,c\"")).unwrap();
        assert_eq!(settings.search_path("ann"), ["a", "B,c"]);
    }

    #[test]
    fn reset_goes_back_to_the_start_of_the_session() {
        let mut settings = Settings::default();
        settings.set_base("application_name", "psql").unwrap();
        settings.set("application_name", Some("x")).unwrap();
        assert_eq!(settings.reset_all(), ["application_name"]);
        assert_eq!(settings.get("application_name"), Some("psql"));
    }

    #[test]
    fn a_long_application_name_is_cut() {
        let mut settings = Settings::default();
        let long = format!("{}\u{e9}", "x".repeat(62));
        settings.set("application_name", Some(&long)).unwrap();
        assert_eq!(settings.get("application_name").map(str::len), Some(62));
        assert!(truncation("Application_Name", &long).is_some());
        assert_eq!(truncation("application_name", "psql"), None);
        assert_eq!(truncation("search_path", &long), None);
    }
}
