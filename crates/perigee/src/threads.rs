//! What the node's threads do in some seconds, for `/debug/threads`: time on a core and time in wait for one, by the threads' names.
//!
//! The names say which part of the node it is: doors (`network`, and `redis`), queries, consensus, the log's writer, checkpoints. It costs what reading a few files
//! costs, so it can be asked of a node that is busy; which function it is, `perf` says.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

/// Where the kernel tells of them.
const TASKS: &str = "/proc/self/task";
/// How long may be looked at.
const SECONDS_MAX: u64 = 60;

/// What threads of one name have had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    threads: u64,
    /// Nanoseconds on a core.
    ran: u64,
    /// Nanoseconds in wait for one.
    waited: u64,
}

/// How many seconds a request asks for: `seconds=N`, else one.
pub(crate) fn seconds(query: Option<&str>) -> Result<Duration, String> {
    let given = query.into_iter().flat_map(|query| query.split('&')).find_map(|part| part.strip_prefix("seconds="));
    match given.map(str::parse::<u64>) {
        None => Ok(Duration::from_secs(1)),
        Some(Ok(seconds @ 1..=SECONDS_MAX)) => Ok(Duration::from_secs(seconds)),
        Some(_) => Err(format!("seconds is 1 to {SECONDS_MAX}")),
    }
}

/// What the threads do from now on for so long.
pub(crate) async fn observe(time: Duration) -> Value {
    let (before, began) = (look(), std::time::Instant::now());
    tokio::time::sleep(time).await;
    let took = began.elapsed();
    report(&before, &look(), took)
}

/// Each thread's name and times, by its number. One that ends meanwhile is left out.
fn look() -> BTreeMap<u64, (String, Times)> {
    let Ok(tasks) = std::fs::read_dir(TASKS) else { return BTreeMap::new() };
    let thread = |task: std::fs::DirEntry| {
        let number = task.file_name().to_str()?.parse().ok()?;
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?.trim().to_owned();
        let times = times(&std::fs::read_to_string(task.path().join("schedstat")).ok()?)?;
        Some((number, (name, times)))
    };
    tasks.flatten().filter_map(thread).collect()
}

/// `schedstat`: nanoseconds that it ran, nanoseconds that it waited to run, and how often.
fn times(schedstat: &str) -> Option<Times> {
    let mut fields = schedstat.split_whitespace().map(str::parse::<u64>);
    Some(Times { threads: 1, ran: fields.next()?.ok()?, waited: fields.next()?.ok()? })
}

fn report(before: &BTreeMap<u64, (String, Times)>, after: &BTreeMap<u64, (String, Times)>, took: Duration) -> Value {
    let mut all: BTreeMap<&str, Times> = BTreeMap::new();
    for (number, (name, now)) in after {
        let then = before.get(number).map_or(Times::default(), |(_, then)| *then);
        let of_name = all.entry(name).or_default();
        of_name.threads += 1;
        of_name.ran += now.ran.saturating_sub(then.ran);
        of_name.waited += now.waited.saturating_sub(then.waited);
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by_key(|(name, times)| (std::cmp::Reverse(times.ran), *name));
    let seconds = took.as_secs_f64();
    let shown = all.into_iter().map(|(name, times)| {
        let (ran, waited) = (times.ran as f64 / 1e9, times.waited as f64 / 1e9);
        json!({
            "name": name,
            "threads": times.threads,
            "cpu_seconds": ran,
            "cores": ran / seconds,
            "waited_for_a_core_seconds": waited,
        })
    });
    json!({"seconds": seconds, "threads": shown.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_how_long() {
        assert_eq!(seconds(None), Ok(Duration::from_secs(1)));
        assert_eq!(seconds(Some("a=b&seconds=5")), Ok(Duration::from_secs(5)));
        for wrong in ["seconds=0", "seconds=61", "seconds=x", "seconds="] {
            assert!(seconds(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn threads_of_one_name_are_one_line() {
        let thread = |name: &str, ran, waited| (name.to_owned(), Times { threads: 1, ran, waited });
        let before = BTreeMap::from([(1, thread("network", 1_000_000_000, 0)), (2, thread("gone", 5, 5))]);
        let after = BTreeMap::from([
            (1, thread("network", 3_000_000_000, 0)),
            (3, thread("network", 1_000_000_000, 500_000_000)),
            (4, thread("idle", 0, 0)),
        ]);
        let told = report(&before, &after, Duration::from_secs(2));
        let first = &told["threads"][0];
        assert_eq!((&first["name"], &first["threads"]), (&json!("network"), &json!(2)), "{told}");
        assert_eq!((&first["cpu_seconds"], &first["cores"]), (&json!(3.0), &json!(1.5)), "{told}");
        assert_eq!(first["waited_for_a_core_seconds"], json!(0.5), "{told}");
        assert_eq!((&told["threads"][1]["name"], told["threads"].as_array().unwrap().len()), (&json!("idle"), 2));
        assert_eq!(times("7 8 9\n"), Some(Times { threads: 1, ran: 7, waited: 8 }));
        assert_eq!((times(""), times("x 1 2")), (None, None));
    }

    #[tokio::test]
    async fn this_process_has_threads() {
        let told = observe(Duration::from_millis(20)).await;
        assert!(!told["threads"].as_array().unwrap().is_empty(), "{told}");
    }
}
