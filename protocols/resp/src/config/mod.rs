//! CONFIG: parameters that tools read and set.
//!
//! Most belong to the door of this node and last as long as the process. What changes what commands do, on every node alike,
//! is logged instead ([`Place::Logged`]): it is part of the keyspace's state, and stays.

mod table;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};

use parking_lot::RwLock;
use perigee_keyspace::EventClass;
use perigee_keyspace::args::parse_integer;
use rustc_hash::FxHashMap;

/// What values a parameter takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bool,
    Number(i64, i64),
    Memory(i64, i64),
    /// The same, or a share of `maxmemory`.
    MemoryOrPercent,
    Choice(&'static [&'static str]),
    OutputLimits,
    Percentiles,
    Events,
    Save,
    Text,
}

/// Where a parameter is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// By this door.
    Here,
    /// By the keyspace, through the log.
    Logged,
    /// Nowhere: it does not change while the server runs.
    Fixed,
}

/// A parameter.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    /// The parameter that this is an older name of.
    pub(crate) alias: Option<&'static str>,
    pub(crate) default: &'static str,
    pub(crate) kind: Kind,
    pub(crate) place: Place,
}

impl Param {
    const fn new(name: &'static str, default: &'static str, kind: Kind, place: Place) -> Self {
        Self { name, alias: None, default, kind, place }
    }

    const fn alias(name: &'static str, of: &'static str) -> Self {
        Self { name, alias: Some(of), default: "", kind: Kind::Text, place: Place::Here }
    }
}

impl Param {
    /// Whether it is shown only to those who name it.
    pub(crate) fn is_hidden(&self) -> bool {
        self.name == "key-load-delay"
    }
}

/// What holds for one class of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputLimit {
    pub(crate) hard: usize,
    pub(crate) soft: usize,
    pub(crate) soft_seconds: u64,
}

/// What is looked at with every command.
#[derive(Debug)]
pub(crate) struct Hot {
    bulk_bytes_max: AtomicI64,
    query_buffer_bytes_max: AtomicUsize,
    pub(crate) slowlog_slower_than_us: AtomicI64,
    pub(crate) slowlog_length_max: AtomicUsize,
    pub(crate) clients_max: AtomicUsize,
    pub(crate) timeout_s: AtomicU32,
    pub(crate) memory_max: AtomicUsize,
    pub(crate) evicts: AtomicBool,
    events: AtomicU32,
    pub(crate) tracking_keys_max: AtomicUsize,
    pub(crate) acl_log_length_max: AtomicUsize,
    pub(crate) latency_threshold_ms: AtomicI64,
    pub(crate) replicas_min: AtomicU32,
    pub(crate) normal_limit: RwLock<OutputLimit>,
    pub(crate) pubsub_limit: RwLock<OutputLimit>,
}

impl Hot {
    pub(crate) fn bulk_bytes_max(&self) -> i64 {
        self.bulk_bytes_max.load(Ordering::Relaxed)
    }

    pub(crate) fn query_buffer_bytes_max(&self) -> usize {
        self.query_buffer_bytes_max.load(Ordering::Relaxed)
    }

    /// The keyspace events that are told.
    pub(crate) fn events(&self) -> EventClass {
        EventClass::from_bits_truncate(self.events.load(Ordering::Relaxed) as u16)
    }
}

/// The parameters of a door.
#[derive(Debug)]
pub(crate) struct Config {
    values: RwLock<FxHashMap<&'static str, String>>,
    pub(crate) hot: Hot,
}

/// The parameter of a name, in any case; an older name gives the one it stands for.
pub(crate) fn find(name: &[u8]) -> Option<&'static Param> {
    let param = table::PARAMS.iter().find(|param| name.eq_ignore_ascii_case(param.name.as_bytes()))?;
    match param.alias {
        Some(name) => find(name.as_bytes()),
        None => Some(param),
    }
}

/// All parameters with older names.
pub(crate) fn all() -> impl Iterator<Item = &'static Param> {
    table::PARAMS.iter()
}

impl Config {
    pub(crate) fn new() -> Self {
        let none = OutputLimit { hard: 0, soft: 0, soft_seconds: 0 };
        let config = Self {
            values: RwLock::default(),
            hot: Hot {
                bulk_bytes_max: AtomicI64::new(0),
                query_buffer_bytes_max: AtomicUsize::new(0),
                slowlog_slower_than_us: AtomicI64::new(0),
                slowlog_length_max: AtomicUsize::new(0),
                clients_max: AtomicUsize::new(0),
                timeout_s: AtomicU32::new(0),
                memory_max: AtomicUsize::new(0),
                evicts: AtomicBool::new(false),
                events: AtomicU32::new(0),
                tracking_keys_max: AtomicUsize::new(0),
                acl_log_length_max: AtomicUsize::new(0),
                latency_threshold_ms: AtomicI64::new(0),
                replicas_min: AtomicU32::new(0),
                normal_limit: RwLock::new(none),
                pubsub_limit: RwLock::new(none),
            },
        };
        for param in all().filter(|param| param.alias.is_none()) {
            config.warm(param.name, param.default);
        }
        config
    }

    /// The value of a parameter, but for those that the keyspace keeps.
    pub(crate) fn get(&self, param: &Param) -> String {
        self.values.read().get(param.name).cloned().unwrap_or_else(|| param.default.to_owned())
    }

    /// The same by name.
    pub(crate) fn get_by_name(&self, name: &str) -> String {
        find(name.as_bytes()).map(|param| self.get(param)).unwrap_or_default()
    }

    /// Sets a parameter to a value that [`check`] gave.
    pub(crate) fn set(&self, param: &'static Param, value: String) {
        self.warm(param.name, &value);
        self.values.write().insert(param.name, value);
    }

    /// Takes over a parameter's value that is kept elsewhere, as far as it is looked at with every command.
    pub(crate) fn warm(&self, name: &str, value: &str) {
        let hot = &self.hot;
        let number: i64 = value.parse().unwrap_or(0);
        let count = usize::try_from(number).unwrap_or(0);
        let set = |place: &AtomicUsize| place.store(count, Ordering::Relaxed);
        match name {
            "proto-max-bulk-len" => hot.bulk_bytes_max.store(number, Ordering::Relaxed),
            "client-query-buffer-limit" => set(&hot.query_buffer_bytes_max),
            "slowlog-log-slower-than" => hot.slowlog_slower_than_us.store(number, Ordering::Relaxed),
            "slowlog-max-len" => set(&hot.slowlog_length_max),
            "maxclients" => set(&hot.clients_max),
            "timeout" => hot.timeout_s.store(u32::try_from(number).unwrap_or(0), Ordering::Relaxed),
            "maxmemory" => set(&hot.memory_max),
            "maxmemory-policy" => hot.evicts.store(value != "noeviction", Ordering::Relaxed),
            "tracking-table-max-keys" => set(&hot.tracking_keys_max),
            "acllog-max-len" => set(&hot.acl_log_length_max),
            "latency-monitor-threshold" => hot.latency_threshold_ms.store(number, Ordering::Relaxed),
            "min-replicas-to-write" => hot.replicas_min.store(u32::try_from(number).unwrap_or(0), Ordering::Relaxed),
            "notify-keyspace-events" => {
                let events = events_of(value).unwrap_or_default();
                hot.events.store(u32::from(events.bits()), Ordering::Relaxed);
            }
            "client-output-buffer-limit" => {
                for (class, limit) in output_limits(value).unwrap_or_default() {
                    match class {
                        "normal" => *hot.normal_limit.write() = limit,
                        "pubsub" => *hot.pubsub_limit.write() = limit,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// The value as CONFIG GET gives it back, or what is wrong with it. `now` is the value that holds.
pub(crate) fn check(param: &Param, value: &str, now: &str) -> Result<String, String> {
    let within = |number: i64, min: i64, max: i64| {
        if (min..=max).contains(&number) {
            Ok(number.to_string())
        } else {
            Err(format!("argument must be between {min} and {max} inclusive"))
        }
    };
    match param.kind {
        Kind::Bool => match value.to_ascii_lowercase().as_str() {
            yes @ ("yes" | "no") => Ok(yes.to_owned()),
            _ => Err("argument must be 'yes' or 'no'".to_owned()),
        },
        Kind::Number(min, max) => {
            let number = parse_integer(value.as_bytes())
                .ok_or_else(|| "argument couldn't be parsed into an integer".to_owned())?;
            within(number, min, max)
        }
        Kind::Memory(min, max) => {
            let number = memory(value).ok_or_else(|| "argument must be a memory value".to_owned())?;
            within(number, min, max)
        }
        Kind::MemoryOrPercent => match value.strip_suffix('%') {
            Some(share) => match share.parse::<u64>() {
                Ok(0..=100) => Ok(value.to_owned()),
                Ok(_) => Err("percentage argument must be less or equal to 100".to_owned()),
                Err(_) => Err("argument must be a memory or percent value".to_owned()),
            },
            None => memory(value)
                .map(|bytes| bytes.to_string())
                .ok_or_else(|| "argument must be a memory or percent value".to_owned()),
        },
        Kind::Choice(words) => words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(value))
            .map(|word| (*word).to_owned())
            .ok_or_else(|| format!("argument(s) must be one of the following: {}", words.join(", "))),
        Kind::OutputLimits => merge_limits(value, now).map_err(str::to_owned),
        Kind::Percentiles => {
            let bad = || "Invalid latency-tracking-info-percentiles argument".to_owned();
            let one = |word: &str| {
                let share =
                    perigee_keyspace::args::parse_float(word.as_bytes()).filter(|share| (0.0..=100.0).contains(share));
                share.map(perigee_keyspace::args::format_float).ok_or_else(bad)
            };
            let words: Result<Vec<String>, String> = value.split_ascii_whitespace().map(one).collect();
            Ok(words?.join(" "))
        }
        Kind::Events => events_of(value)
            .map(events_text)
            .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned()),
        Kind::Save => {
            let words: Vec<&str> = value.split_ascii_whitespace().collect();
            let right = words.len().is_multiple_of(2)
                && words.chunks(2).all(|pair| {
                    matches!(
                        (parse_integer(pair[0].as_bytes()), parse_integer(pair[1].as_bytes())),
                        (Some(1..), Some(0..))
                    )
                });
            if right { Ok(words.join(" ")) } else { Err("Invalid save parameters".to_owned()) }
        }
        Kind::Text => Ok(value.to_owned()),
    }
}

/// Bytes with a unit: `b`, `k`, `kb`, `m`, `mb`, `g`, `gb`.
pub(crate) fn memory(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: i64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<i64>().ok().filter(|number| *number >= 0)?.checked_mul(unit)
}

fn output_limits(text: &str) -> Result<Vec<(&'static str, OutputLimit)>, &'static str> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.");
    }
    words
        .chunks(4)
        .map(|limit| {
            let class = match limit[0].to_ascii_lowercase().as_str() {
                "normal" => "normal",
                "slave" | "replica" => "slave",
                "pubsub" => "pubsub",
                _ => return Err("Invalid client class specified in buffer limit configuration."),
            };
            let bytes = |text| memory(text).and_then(|bytes| usize::try_from(bytes).ok());
            let limits = (bytes(limit[1]), bytes(limit[2]), limit[3].parse().ok());
            let (Some(hard), Some(soft), Some(soft_seconds)) = limits else {
                return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.");
            };
            Ok((class, OutputLimit { hard, soft, soft_seconds }))
        })
        .collect()
}

fn merge_limits(text: &str, now: &str) -> Result<String, &'static str> {
    let mut limits = output_limits(now).unwrap_or_default();
    for (class, limit) in output_limits(text)? {
        match limits.iter_mut().find(|(found, _)| *found == class) {
            Some(found) => found.1 = limit,
            None => limits.push((class, limit)),
        }
    }
    let words: Vec<String> = limits
        .iter()
        .map(|(class, limit)| format!("{class} {} {} {}", limit.hard, limit.soft, limit.soft_seconds))
        .collect();
    Ok(words.join(" "))
}

/// Letters of `notify-keyspace-events`, but `A`.
const EVENTS: &[(char, EventClass)] = &[
    ('g', EventClass::GENERIC),
    ('$', EventClass::STRING),
    ('l', EventClass::LIST),
    ('s', EventClass::SET),
    ('h', EventClass::HASH),
    ('z', EventClass::ZSET),
    ('x', EventClass::EXPIRED),
    ('e', EventClass::EVICTED),
    ('t', EventClass::STREAM),
    ('d', EventClass::MODULE),
    ('K', EventClass::KEYSPACE),
    ('E', EventClass::KEYEVENT),
    ('m', EventClass::MISS),
    ('n', EventClass::NEW),
];

fn events_of(text: &str) -> Option<EventClass> {
    text.chars().try_fold(EventClass::empty(), |events, letter| {
        let class = match letter {
            'A' => EventClass::ALL,
            letter => EVENTS.iter().find(|(known, _)| *known == letter)?.1,
        };
        Some(events | class)
    })
}

fn events_text(events: EventClass) -> String {
    let mut text = String::new();
    let all = events.contains(EventClass::ALL);
    if all {
        text.push('A');
    }
    for (letter, class) in EVENTS {
        if events.contains(*class) && !(all && EventClass::ALL.contains(*class)) {
            text.push(*letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_written_back() {
        let check = |name: &str, value: &str, want: Result<&str, &str>| {
            let param = find(name.as_bytes()).unwrap();
            let found = super::check(param, value, param.default);
            assert_eq!(found.as_deref().map_err(String::as_str), want, "{name} {value}");
        };
        check("maxmemory", "10mb", Ok("10485760"));
        check("maxmemory", "x", Err("argument must be a memory value"));
        check("maxclients", "0", Err("argument must be between 1 and 4294967295 inclusive"));
        check("appendonly", "foo", Err("argument must be 'yes' or 'no'"));
        check("notify-keyspace-events", "KEA", Ok("AKE"));
        check("notify-keyspace-events", "Kl$", Ok("$lK"));
        check("Hash-Max-Ziplist-Entries", "7", Ok("7"));
        check(
            "client-output-buffer-limit",
            "pubsub 1mb 2 3",
            Ok("normal 0 0 0 slave 268435456 67108864 60 pubsub 1048576 2 3"),
        );
        check("save", "60 10", Ok("60 10"));
        check("save", "60", Err("Invalid save parameters"));
    }

    #[test]
    fn older_names_are_known() {
        assert!(all().filter_map(|param| param.alias).all(|name| find(name.as_bytes()).is_some()));
    }
}
