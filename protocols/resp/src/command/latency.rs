//! LATENCY LATEST | HISTORY | RESET | DOCTOR | GRAPH | HISTOGRAM

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Reply, Result};

use super::{ADMIN, LOADING_STALE, commands, help};
use crate::session::Session;

commands! {
    "latency" -2 Flags::empty(), Category::empty(), Server "2.8.13" "Events that took long" container;
    "latency|latest" 2 ADMIN, Category::empty(), Server "2.8.13" "The latest event of each kind" now latest;
    "latency|history" 3 ADMIN, Category::empty(), Server "2.8.13" "All events of a kind" now history;
    "latency|reset" -2 ADMIN, Category::empty(), Server "2.8.13" "Forgets events" now reset;
    "latency|doctor" 2 ADMIN, Category::empty(), Server "2.8.13" "Events that took long, in words" now doctor;
    "latency|graph" 3 ADMIN, Category::empty(), Server "2.8.13" "Events of a kind as a picture" now graph;
    "latency|histogram" -2 ADMIN, Category::empty(), Server "7.0.0" "How long commands take" now histogram;
    "latency|help" 2 LOADING_STALE, Category::empty(), Server "2.8.13" "What LATENCY can do" now helps;
}

fn latest(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    let show = |(name, event): (&'static str, crate::latency::Event)| {
        let (time, ms) = event.samples.back().copied().unwrap_or_default();
        Reply::Array(vec![Reply::bulk(name), Reply::Integer(time), Reply::Integer(ms), Reply::Integer(event.max_ms)])
    };
    Ok(Reply::Array(session.shared.latency.all().into_iter().map(show).collect()))
}

fn history(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let all = session.shared.latency.all();
    let event = all.into_iter().find(|(name, _)| name.as_bytes() == args[2]);
    let samples = event.map(|(_, event)| event.samples).unwrap_or_default();
    let show = |(time, ms)| Reply::Array(vec![Reply::Integer(time), Reply::Integer(ms)]);
    Ok(Reply::Array(samples.into_iter().map(show).collect()))
}

fn reset(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let latency = &session.shared.latency;
    let count = match args.get(2..).unwrap_or_default() {
        [] => latency.reset(None),
        names => names.iter().map(|name| latency.reset(Some(name))).sum(),
    };
    Ok(Reply::count(count))
}

fn doctor(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    let mut report = String::new();
    for (name, event) in session.shared.latency.all() {
        report.push_str(&format!("{name}: {} times, at most {} ms.\n", event.samples.len(), event.max_ms));
    }
    if report.is_empty() {
        report.push_str("No event was kept. CONFIG SET latency-monitor-threshold <milliseconds> says which are.\n");
    }
    Ok(Reply::Verbatim("txt", report.into()))
}

fn graph(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let all = session.shared.latency.all();
    let Some((name, event)) = all.into_iter().find(|(name, _)| name.as_bytes() == args[2]) else {
        return Err(Error::reply(format!("ERR No samples available for event '{}'", super::text(&args[2]))));
    };
    let low = event.samples.iter().map(|(_, ms)| *ms).min().unwrap_or_default();
    let mut picture = format!("{name} - high {} ms, low {low} ms (all time high {} ms)\n", event.max_ms, event.max_ms);
    for (time, ms) in &event.samples {
        let width = usize::try_from(ms * 40 / event.max_ms.max(1)).unwrap_or(0);
        picture.push_str(&format!("{time} {} {ms}\n", "#".repeat(width)));
    }
    Ok(Reply::Verbatim("txt", picture.into()))
}

fn histogram(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    use std::sync::atomic::Ordering;
    let mut pairs = Vec::new();
    let wanted = args.get(2..).unwrap_or_default();
    super::each(|entry| {
        let Some(counters) = session.shared.stats.commands.get(entry.number) else { return };
        let calls = counters.calls.load(Ordering::Relaxed);
        let parent = entry.spec.name.split('|').next().unwrap_or_default();
        let is_wanted = wanted.is_empty()
            || wanted.iter().any(|name| {
                perigee_keyspace::args::is(name, entry.spec.name) || perigee_keyspace::args::is(name, parent)
            });
        if calls == 0 || !is_wanted {
            return;
        }
        let mean = counters.micros.load(Ordering::Relaxed) / calls;
        // Only the mean is kept: it stands for all of them.
        let bound = i64::try_from(mean.max(1).next_power_of_two()).unwrap_or(i64::MAX);
        let calls = i64::try_from(calls).unwrap_or(i64::MAX);
        let buckets = vec![(Reply::Integer(bound), Reply::Integer(calls))];
        pairs.push((
            Reply::bulk(entry.spec.name),
            Reply::Map(vec![
                (Reply::bulk("calls"), Reply::Integer(calls)),
                (Reply::bulk("histogram_usec"), Reply::Map(buckets)),
            ]),
        ));
    });
    Ok(Reply::Map(pairs))
}

fn helps(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(help(
        "LATENCY",
        &[
            "DOCTOR",
            "    Events that took long, in words.",
            "GRAPH <event>",
            "    Events of a kind as a picture.",
            "HISTOGRAM [COMMAND ...]",
            "    How long commands take.",
            "HISTORY <event>",
            "    All events of a kind.",
            "LATEST",
            "    The latest event of each kind.",
            "RESET [<event> ...]",
            "    Forgets events.",
        ],
    ))
}
