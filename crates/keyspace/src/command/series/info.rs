//! TS.INFO key [DEBUG]

use bytes::Bytes;

use super::{labels_reply, must_get, rule, value};
use crate::args::is;
use crate::object::{DuplicatePolicy, Object, Rule};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

/// TS.INFO
pub(super) static INFO: Spec = Spec {
    name: "ts.info",
    arity: -2,
    flags: Flags::READONLY,
    category: Category::TIMESERIES,
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    group: Group::Module,
    since: "1.0.0",
    summary: "What a time series is and holds",
    run: Run::Read(info),
    ..Spec::DEFAULT
};

fn info(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    if args.len() > 3 {
        return Err(crate::error::wrong_arity("ts.info"));
    }
    let series = must_get(reader, &args[1])?;
    let resp3 = reader.context.resp3;
    let options = &series.options;
    let chunks = series.chunks();
    let policy = options.policy.map(DuplicatePolicy::name);
    let labels = options.labels.iter().map(|(name, value)| (&**name, Some(&**value)));
    let mut fields = vec![
        ("totalSamples", Reply::count(series.count())),
        ("memoryUsage", Reply::count(series.memory())),
        ("firstTimestamp", Reply::Integer(series.first().map_or(0, |sample| sample.time))),
        ("lastTimestamp", Reply::Integer(series.last().map_or(0, |sample| sample.time))),
        ("retentionTime", Reply::Integer(options.retention_ms)),
        ("chunkCount", Reply::count(chunks.len())),
        ("chunkSize", Reply::Integer(options.chunk_bytes)),
        ("chunkType", Reply::status(if options.is_compressed { "compressed" } else { "uncompressed" })),
        ("duplicatePolicy", policy.map_or(Reply::Null, Reply::status)),
        ("labels", labels_reply(labels, resp3)),
        ("sourceKey", rule::live_source(reader, &args[1], series)?.map_or(Reply::Null, Reply::Bulk)),
        ("rules", rules(&rule::live_rules(reader, &args[1], series)?, resp3)),
        ("ignoreMaxTimeDiff", Reply::Integer(options.ignore.0)),
        ("ignoreMaxValDiff", value(options.ignore.1, resp3)),
    ];
    if args.get(2).is_some_and(|word| is(word, "debug")) {
        fields.push(("keySelfName", Reply::bulk(&args[1])));
        let chunk = |(first, last, samples, bytes): (i64, i64, usize, usize)| {
            let each = if samples == 0 { 0.0 } else { bytes as f64 / samples as f64 };
            map(vec![
                ("startTimestamp", Reply::Integer(first)),
                ("endTimestamp", Reply::Integer(last)),
                ("samples", Reply::count(samples)),
                ("size", Reply::count(bytes)),
                ("bytesPerSample", value(each, resp3)),
            ])
        };
        fields.push(("Chunks", Reply::Array(chunks.into_iter().map(chunk).collect())));
    }
    Ok(map(fields))
}

fn map(fields: Vec<(&'static str, Reply)>) -> Reply {
    Reply::Map(fields.into_iter().map(|(name, value)| (Reply::status(name), value)).collect())
}

fn rules(rules: &[Rule], resp3: bool) -> Reply {
    let parts = |rule: &Rule| {
        vec![
            Reply::Integer(rule.bucket_ms),
            Reply::Status(rule.aggregation.name().to_ascii_uppercase().into()),
            Reply::Integer(rule.align),
        ]
    };
    if resp3 {
        let pair = |rule: &Rule| (Reply::bulk(&rule.destination), Reply::Array(parts(rule)));
        return Reply::Map(rules.iter().map(pair).collect());
    }
    let list = |rule: &Rule| [Reply::bulk(&rule.destination)].into_iter().chain(parts(rule)).collect();
    Reply::Array(rules.iter().map(|rule| Reply::Array(list(rule))).collect())
}
