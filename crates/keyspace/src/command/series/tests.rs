//! Expectations are computed by hand from what the module's documentation says.

use crate::twin::Twin;

fn check(script: &str) {
    Twin::new().check(script);
}

#[test]
fn samples_are_added_in_any_order() {
    check(
        "TS.ADD k 1000 1 => 1000
        TS.ADD k 3000 3.5 => 3000
        TS.ADD k 2000 -2 => 2000
        TS.RANGE k - + => [[1000, 1], [2000, -2], [3000, 3.5]]
        TS.REVRANGE k - + => [[3000, 3.5], [2000, -2], [1000, 1]]
        TS.RANGE k 1500 2500 => [[2000, -2]]
        TS.RANGE k - + COUNT 1 => [[1000, 1]]
        TS.REVRANGE k - + COUNT 1 => [[3000, 3.5]]
        TS.RANGE k 5000 9000 => []
        TS.RANGE k 3000 1000 => []
        TS.GET k => [3000, 3.5]
        TS.ADD k * 9 => 1704067200000
        TS.CREATE empty => OK
        TS.GET empty => []
        TS.RANGE empty - + => []
        TS.DEL k 1500 3500 => 2
        TS.RANGE k - + => [[1000, 1], [1704067200000, 9]]
        TS.DEL k 1 2 => 0
        TS.MADD k 5 1 nokey 5 1 k x 1 k 7 y k -1 1 => [5, (error) ERR TSDB: the key does not exist, (error) ERR TSDB: invalid timestamp, (error) ERR TSDB: invalid value, (error) ERR TSDB: invalid timestamp, must be a nonnegative integer]",
    );
}

#[test]
fn duplicates_follow_the_policy() {
    check(
        "TS.ADD block 1 1
        TS.ADD block 1 2 => (error) ERR TSDB: Error at upsert, update is not supported when DUPLICATE_POLICY is set to BLOCK mode
        TS.ADD block 1 2 ON_DUPLICATE LAST => 1
        TS.GET block => [1, 2]
        TS.ADD block 1 9 ON_DUPLICATE FIRST => 1
        TS.GET block => [1, 2]
        TS.ADD block 1 9 ON_DUPLICATE MAX => 1
        TS.ADD block 1 3 ON_DUPLICATE MIN => 1
        TS.ADD block 1 4 ON_DUPLICATE SUM => 1
        TS.GET block => [1, 7]
        TS.ADD block 1 4 ON_DUPLICATE FOO => (error) ERR TSDB: Unknown DUPLICATE_POLICY
        TS.CREATE sum DUPLICATE_POLICY sum
        TS.MADD sum 1 1 sum 1 2 sum 1 3 => [1, 1, 1]
        TS.GET sum => [1, 6]
        TS.ALTER sum DUPLICATE_POLICY block
        TS.MADD sum 1 1 => [(error) ERR TSDB: Error at upsert, update is not supported when DUPLICATE_POLICY is set to BLOCK mode]",
    );
}

#[test]
fn what_says_nothing_new_is_ignored() {
    check(
        "TS.INCRBY i 1 TIMESTAMP 1000 DUPLICATE_POLICY last IGNORE 5 10 => 1000
        TS.INCRBY i 3 TIMESTAMP 1000 => 1000
        TS.RANGE i - + => [[1000, 1]]
        TS.INCRBY i 10.5 TIMESTAMP 1000 => 1000
        TS.RANGE i - + => [[1000, 11.5]]
        TS.DECRBY i 5 TIMESTAMP 1004 => 1000
        TS.DECRBY i 5 TIMESTAMP 1006 => 1006
        TS.CREATE k DUPLICATE_POLICY LAST IGNORE 10 0.5
        TS.ADD k 100 1 => 100
        TS.ADD k 105 1.4 => 100
        TS.ADD k 105 1.6 => 105
        TS.ADD k 116 1.6 => 116
        TS.ADD k 110 1.6 => 110
        TS.RANGE k - + => [[100, 1], [105, 1.6], [110, 1.6], [116, 1.6]]
        TS.CREATE first DUPLICATE_POLICY FIRST IGNORE 10 0.5
        TS.MADD first 100 1 first 105 1 => [100, 105]
        TS.CREATE bad IGNORE 10 => (error) ERR TSDB: Couldn't parse IGNORE",
    );
}

#[test]
fn retention_counts_from_the_newest() {
    check(
        "TS.CREATE k RETENTION 1000
        TS.MADD k 1000 1 k 1500 2 k 2000 3
        TS.RANGE k - + => [[1000, 1], [1500, 2], [2000, 3]]
        TS.ADD k 2501 4
        TS.RANGE k - + => [[2000, 3], [2501, 4]]
        TS.ADD k 1500 9 => (error) ERR TSDB: Timestamp is older than retention
        TS.ADD k 1501 9 => 1501
        TS.REVRANGE k - + => [[2501, 4], [2000, 3], [1501, 9]]
        TS.ALTER k RETENTION 0
        TS.ADD k 10 1 => 10",
    );
}

#[test]
fn aggregations_of_buckets() {
    // Bucket 0: 1 2 3 6 at 0 250 500 750; bucket 1000: 10.
    let mut twin = Twin::new();
    twin.check("TS.CREATE k\nTS.MADD k 0 1 k 250 2 k 500 3 k 750 6 k 1000 10");
    for (kind, first, second) in [
        ("avg", "3", "10"),
        ("sum", "12", "10"),
        ("min", "1", "10"),
        ("max", "6", "10"),
        ("range", "5", "0"),
        ("count", "4", "1"),
        ("first", "1", "10"),
        ("last", "6", "10"),
        // Differences from 3: 4 + 1 + 0 + 9 = 14.
        ("var.p", "3.5", "0"),
        ("VAR.P", "3.5", "0"),
        ("std.p", "1.8708286933869707", "0"),
        ("var.s", "4.666666666666667", "0"),
        ("std.s", "2.160246899469287", "0"),
        // 375 + 625 + 1,125 + (6 + 10) / 2 * 250 = 4,125 over 1,000; the last stands alone: nothing is behind it.
        ("twa", "4.125", "10"),
    ] {
        twin.check(&format!("TS.RANGE k - + AGGREGATION {kind} 1000 => [[0, {first}], [1000, {second}]]"));
        twin.check(&format!("TS.REVRANGE k - + AGGREGATION {kind} 1000 => [[1000, {second}], [0, {first}]]"));
    }
    twin.check(
        "TS.RANGE k - + AGGREGATION sum 500 => [[0, 3], [500, 9], [1000, 10]]
        TS.RANGE k - + AGGREGATION sum 500 COUNT 2 => [[0, 3], [500, 9]]
        TS.REVRANGE k - + COUNT 2 AGGREGATION sum 500 => [[1000, 10], [500, 9]]
        TS.RANGE k - + AGGREGATION count 500 COUNT 1 => [[0, 2]]
        TS.RANGE k - + AGGREGATION sum 500 BUCKETTIMESTAMP + => [[500, 3], [1000, 9], [1500, 10]]
        TS.RANGE k - + AGGREGATION sum 500 BUCKETTIMESTAMP ~ => [[250, 3], [750, 9], [1250, 10]]
        TS.RANGE k - + AGGREGATION sum 500 BUCKETTIMESTAMP - => [[0, 3], [500, 9], [1000, 10]]
        TS.RANGE k 250 1000 ALIGN start AGGREGATION sum 500 => [[250, 5], [750, 16]]
        TS.RANGE k 0 900 ALIGN + AGGREGATION sum 500 => [[0, 3], [400, 9]]
        TS.RANGE k - + ALIGN 300 AGGREGATION sum 500 => [[0, 3], [300, 9], [800, 10]]
        TS.RANGE k - + AGGREGATION min,max 1000 => [[0, 1, 6], [1000, 10, 10]]
        TS.RANGE k - + FILTER_BY_VALUE 2 6 => [[250, 2], [500, 3], [750, 6]]
        TS.RANGE k - + FILTER_BY_TS 1000 0 5 => [[0, 1], [1000, 10]]
        TS.RANGE k - + FILTER_BY_TS 0 250 500 FILTER_BY_VALUE 2 10 AGGREGATION count 1000 => [[0, 2]]",
    );
}

#[test]
fn a_time_weighted_mean_is_that_of_the_times_asked_for() {
    check(
        "TS.CREATE k
        TS.MADD k 0 0 k 4 4 k 10 10 k 11 12 k 20 30
        # What begins at the last time asked for has no width: it is its only sample.
        TS.RANGE k 0 10 AGGREGATION twa 10 => [[0, 5], [10, 10]]
        TS.REVRANGE k 0 10 AGGREGATION twa 10 => [[10, 10], [0, 5]]
        # From 2 to 8: the line through (0, 0), (4, 4) and (10, 10).
        TS.RANGE k 2 8 AGGREGATION twa 10 => [[0, 5]]
        TS.RANGE k 4 4 AGGREGATION twa 10 => [[0, 4]]
        # From 10 to 11, not on to 20.
        TS.RANGE k 10 11 AGGREGATION twa 10 => [[10, 11]]",
    );
}

#[test]
fn what_is_uncompressed_is_larger() {
    let mut twin = Twin::new();
    twin.check("TS.CREATE small ENCODING COMPRESSED => OK\nTS.CREATE large UNCOMPRESSED => OK");
    for at in 0..1_000 {
        twin.check(&format!("TS.MADD small {at} {at} large {at} {at} => [{at}, {at}]"));
    }
    let mut bytes = |key: &str| match twin.run(&["TS.INFO", key]) {
        crate::Ran::Reply(crate::Reply::Map(fields)) => match &fields[1].1 {
            crate::Reply::Integer(bytes) => *bytes,
            other => panic!("{other:?}"),
        },
        _ => panic!("no map"),
    };
    let (small, large) = (bytes("small"), bytes("large"));
    assert!(small < large, "{small} {large}");
    twin.check("TS.RANGE large 510 513 => [[510, 510], [511, 511], [512, 512], [513, 513]]");
}

#[test]
fn empty_buckets_are_reported_when_asked_for() {
    check(
        "TS.CREATE k
        TS.MADD k 10 4 k 40 10 k 45 1
        TS.RANGE k - + AGGREGATION sum 10 => [[10, 4], [40, 11]]
        TS.RANGE k - + AGGREGATION sum 10 EMPTY => [[10, 4], [20, 0], [30, 0], [40, 11]]
        TS.RANGE k - + AGGREGATION count 10 EMPTY => [[10, 1], [20, 0], [30, 0], [40, 2]]
        TS.RANGE k - + AGGREGATION last 10 EMPTY => [[10, 4], [20, 4], [30, 4], [40, 1]]
        TS.RANGE k - + AGGREGATION avg 10 EMPTY => [[10, 4], [20, NaN], [30, NaN], [40, 5.5]]
        TS.REVRANGE k - + AGGREGATION first 10 EMPTY COUNT 2 => [[40, 10], [30, NaN]]
        # The line from (10, 4) to (40, 10) rises by 0.2; the mean of a bucket is that at its middle.
        TS.RANGE k - + AGGREGATION twa 10 EMPTY => [[10, 5], [20, 7], [30, 9], [40, 5.5]]
        # Samples lie on both sides of what is asked for: the line goes to them, what counts is what lies under 30 to 39.
        TS.RANGE k 20 39 AGGREGATION twa 10 EMPTY => [[20, 7], [30, 8.9]]
        TS.RANGE k 20 39 AGGREGATION sum 10 EMPTY => [[20, 0], [30, 0]]
        TS.RANGE k 20 39 AGGREGATION sum 10 => []
        # Nothing before the first and behind the last sample of the series.
        TS.RANGE k 0 1000 AGGREGATION count 10 EMPTY => [[10, 1], [20, 0], [30, 0], [40, 2]]
        TS.RANGE k 50 1000 AGGREGATION count 10 EMPTY => []
        TS.RANGE k 15 44 AGGREGATION count 10 EMPTY => [[10, 0], [20, 0], [30, 0], [40, 1]]",
    );
}

#[test]
fn a_rule_computes_what_a_query_would() {
    check(
        "TS.CREATE raw
        TS.CREATE sum
        TS.CREATE twa
        TS.CREATERULE raw sum AGGREGATION sum 100 => OK
        TS.CREATERULE raw twa AGGREGATION twa 100 50 => OK
        TS.MADD raw 0 1 raw 50 2 => [0, 50]
        TS.RANGE sum - + => []
        TS.RANGE sum - + LATEST => [[0, 3]]
        TS.GET sum => []
        TS.GET sum LATEST => [0, 3]
        TS.ADD raw 100 4
        TS.RANGE sum - + => [[0, 3]]
        TS.RANGE sum - + LATEST => [[0, 3], [100, 4]]
        TS.REVRANGE sum - + LATEST => [[100, 4], [0, 3]]
        TS.RANGE sum 0 99 LATEST => [[0, 3]]
        TS.ADD raw 350 8
        TS.RANGE sum - + => [[0, 3], [100, 4]]
        # A late sample computes its bucket again, also one that had none.
        TS.ADD raw 20 10
        TS.ADD raw 210 7
        TS.RANGE sum - + => [[0, 13], [100, 4], [200, 7]]
        TS.ADD raw 20 11 ON_DUPLICATE LAST
        TS.RANGE sum - + => [[0, 14], [100, 4], [200, 7]]
        # One in the open bucket does not.
        TS.ADD raw 340 1
        TS.RANGE sum - + => [[0, 14], [100, 4], [200, 7]]
        TS.ADD raw 400 0
        TS.RANGE sum - + => [[0, 14], [100, 4], [200, 7], [300, 9]]
        TS.DEL raw 0 20 => 2
        TS.DEL raw 100 250 => 2
        TS.RANGE sum - + => [[0, 2], [300, 9]]
        TS.RANGE raw - + AGGREGATION sum 100 => [[0, 2], [300, 9], [400, 0]]
        TS.DELETERULE raw sum => OK
        TS.DELETERULE raw sum => (error) ERR TSDB: compaction rule does not exist
        TS.ADD raw 900 1
        TS.RANGE sum - + => [[0, 2], [300, 9]]",
    );
}

#[test]
fn a_rule_counts_only_what_comes_behind_it() {
    check(
        "TS.MADD raw 10 1
        TS.CREATE raw
        TS.MADD raw 10 1 raw 20 2
        TS.CREATE dest
        TS.CREATERULE raw dest AGGREGATION sum 100
        TS.MADD raw 30 4 raw 110 8
        TS.RANGE dest - + => [[0, 4]]
        # A late one takes the whole bucket into account.
        TS.ADD raw 15 16
        TS.RANGE dest - + => [[0, 23]]",
    );
}

#[test]
fn rules_have_conditions() {
    check(
        "TS.CREATE a
        TS.CREATE b
        TS.CREATE c
        TS.CREATERULE a nokey AGGREGATION sum 10 => (error) ERR TSDB: the key does not exist
        TS.CREATERULE a a AGGREGATION sum 10 => (error) ERR TSDB: the source key and destination key should be different
        TS.CREATERULE a b AGGREGATION foo 10 => (error) ERR TSDB: Unknown aggregation type
        TS.CREATERULE a b AGGREGATION sum 0 => (error) ERR TSDB: bucketDuration must be greater than zero
        TS.CREATERULE a b AGGREGATION sum x => (error) ERR TSDB: Couldn't parse AGGREGATION
        TS.CREATERULE a b FOO sum 10 => (error) ERR wrong number of arguments for 'ts.createrule' command
        TS.CREATERULE a b AGGREGATION sum 10 => OK
        TS.CREATERULE b c AGGREGATION sum 10 => (error) ERR TSDB: the source key already has a source rule
        TS.CREATERULE c a AGGREGATION sum 10 => (error) ERR TSDB: the destination key already has a dst rule
        TS.CREATERULE c b AGGREGATION sum 10 => (error) ERR TSDB: the destination key already has a src rule",
    );
}

#[test]
fn increments_go_on_from_the_newest() {
    check(
        "TS.INCRBY k 2 TIMESTAMP 100 => 100
        TS.INCRBY k 3 TIMESTAMP 100 => 100
        TS.DECRBY k 1.5 TIMESTAMP 200 => 200
        TS.RANGE k - + => [[100, 5], [200, 3.5]]
        TS.INCRBY k 1 TIMESTAMP 150 => (error) ERR TSDB: timestamp must be equal to or higher than the maximum existing timestamp
        TS.INCRBY k x => (error) ERR TSDB: invalid increase/decrease value
        TS.INCRBY k 1 => 1704067200000
        TS.GET k => [1704067200000, 4.5]
        TS.INCRBY new 1 TIMESTAMP 5 LABELS a b
        TS.QUERYINDEX a=b => ~[\"new\"]",
    );
}

/// TS.INFO without memoryUsage, which is about this machine.
fn info(twin: &mut Twin, key: &str) -> String {
    let text = twin.line(&format!("TS.INFO {key}"));
    let parts = text.split(", ").filter(|part| !part.starts_with("memoryUsage: "));
    parts.collect::<Vec<_>>().join(", ")
}

#[test]
fn info_says_what_a_series_is() {
    let script = "TS.CREATE raw LABELS x y
        TS.CREATE sum DUPLICATE_POLICY min IGNORE 5 0.5 RETENTION 900 ENCODING UNCOMPRESSED CHUNK_SIZE 128
        TS.CREATERULE raw sum AGGREGATION sum 100
        TS.MADD raw 50 1 raw 300 1 raw 400 2";
    let mut twin = Twin::new();
    twin.check(script);
    assert_eq!(
        info(&mut twin, "raw"),
        "{totalSamples: 3, firstTimestamp: 50, lastTimestamp: 400, retentionTime: 0, chunkCount: 1, chunkSize: 4096, \
         chunkType: compressed, duplicatePolicy: nil, labels: [[\"x\", \"y\"]], sourceKey: nil, \
         rules: [[\"sum\", 100, SUM, 0]], ignoreMaxTimeDiff: 0, ignoreMaxValDiff: 0}"
    );
    let mut twin = Twin::new();
    twin.context.resp3 = true;
    twin.check(script);
    assert_eq!(
        info(&mut twin, "sum"),
        "{totalSamples: 2, firstTimestamp: 0, lastTimestamp: 300, retentionTime: 900, chunkCount: 1, chunkSize: 128, \
         chunkType: uncompressed, duplicatePolicy: min, labels: {}, sourceKey: \"raw\", rules: {}, \
         ignoreMaxTimeDiff: 5, ignoreMaxValDiff: ,0.5}"
    );
    let debug = twin.line("TS.INFO sum DEBUG");
    assert!(
        debug.contains("keySelfName: \"sum\", Chunks: [{startTimestamp: 0, endTimestamp: 300, samples: 2"),
        "{debug}"
    );
    assert!(twin.line("TS.INFO raw").contains("rules: {\"sum\": [100, SUM, 0]}"));
}

const ROOMS: &str = "TS.CREATE t1 LABELS room study type temp
        TS.CREATE h1 LABELS room study type hum
        TS.CREATE t2 LABELS room kitchen type temp floor 1
        TS.CREATE plain
        TS.MADD t1 1000 10 t1 2000 20 t2 1000 30 t2 3000 40 h1 2000 50";

#[test]
fn filters_choose_by_labels() {
    let mut twin = Twin::new();
    twin.check(ROOMS);
    twin.check(
        "TS.QUERYINDEX room=study => ~[\"h1\", \"t1\"]
        TS.QUERYINDEX room=(study,kitchen) type=temp => ~[\"t1\", \"t2\"]
        TS.QUERYINDEX type=temp room!=study => ~[\"t2\"]
        TS.QUERYINDEX type=temp room!=(study,attic) => ~[\"t2\"]
        TS.QUERYINDEX type=temp floor= => ~[\"t1\"]
        TS.QUERYINDEX type=temp floor!= => ~[\"t2\"]
        TS.QUERYINDEX room=cellar => ~[]
        TS.QUERYINDEX room=\"study\" => ~[\"h1\", \"t1\"]
        TS.QUERYINDEX room!=study => (error) ERR TSDB: please provide at least one matcher
        TS.QUERYINDEX room => (error) ERR TSDB: failed parsing labels
        TS.QUERYINDEX room=(study => (error) ERR TSDB: failed parsing labels
        TS.QUERYLABELS LABELS => ~[\"floor\", \"room\", \"type\"]
        TS.QUERYLABELS LABELS FILTER room=study => ~[\"room\", \"type\"]
        TS.QUERYLABELS VALUES type => ~[\"hum\", \"temp\"]
        TS.QUERYLABELS values room filter type=temp => ~[\"kitchen\", \"study\"]
        TS.QUERYLABELS VALUES missing => ~[]
        TS.QUERYLABELS VALUES => (error) ERR wrong number of arguments for 'ts.querylabels' command
        TS.QUERYLABELS FOO => (error) ERR TSDB: unknown subtype, must be one of LABELS|VALUES
        TS.QUERYLABELS LABELS extra => (error) ERR TSDB: unknown argument, expected FILTER
        TS.QUERYLABELS LABELS FILTER => (error) ERR TSDB: FILTER given with no filter expressions
        TS.QUERYLABELS LABELS FILTER bad => (error) ERR TSDB: failed parsing labels
        TS.ALTER t1 LABELS room attic
        TS.QUERYINDEX room=study => ~[\"h1\"]
        TS.QUERYINDEX room=attic => ~[\"t1\"]
        TS.CREATE bad LABELS a => (error) ERR TSDB: Couldn't parse LABELS
        TS.CREATE bad LABELS a (b => (error) ERR TSDB: Couldn't parse LABELS",
    );
}

#[test]
fn several_series_at_once() {
    let mut twin = Twin::new();
    twin.check(ROOMS);
    twin.check(
        "TS.MGET FILTER type=temp => [[\"t1\", [], [2000, 20]], [\"t2\", [], [3000, 40]]]
        TS.MGET WITHLABELS FILTER type=temp floor=1 => [[\"t2\", [[\"room\", \"kitchen\"], [\"type\", \"temp\"], [\"floor\", \"1\"]], [3000, 40]]]
        TS.MGET SELECTED_LABELS floor room FILTER type=temp => [[\"t1\", [[\"floor\", nil], [\"room\", \"study\"]], [2000, 20]], [\"t2\", [[\"floor\", \"1\"], [\"room\", \"kitchen\"]], [3000, 40]]]
        TS.MGET WITHLABELS SELECTED_LABELS a FILTER type=temp => (error) ERR TSDB: cannot accept WITHLABELS and SELECT_LABELS together
        TS.MRANGE - + FILTER type=temp => [[\"t1\", [], [[1000, 10], [2000, 20]]], [\"t2\", [], [[1000, 30], [3000, 40]]]]
        TS.MREVRANGE - + COUNT 1 FILTER type=temp => [[\"t1\", [], [[2000, 20]]], [\"t2\", [], [[3000, 40]]]]
        TS.MRANGE 2500 + FILTER type=temp => [[\"t1\", [], []], [\"t2\", [], [[3000, 40]]]]
        TS.MRANGE 2500 + EXCLUDEEMPTY FILTER type=temp => [[\"t2\", [], [[3000, 40]]]]
        TS.MRANGE - + SELECTED_LABELS room AGGREGATION sum 10000 FILTER type=temp => [[\"t1\", [[\"room\", \"study\"]], [[0, 30]]], [\"t2\", [[\"room\", \"kitchen\"]], [[0, 70]]]]
        TS.MRANGE - + FILTER type=temp GROUPBY type REDUCE max => [[\"type=temp\", [], [[1000, 30], [2000, 20], [3000, 40]]]]
        TS.MREVRANGE - + COUNT 2 FILTER type=temp GROUPBY type REDUCE avg => [[\"type=temp\", [], [[3000, 40], [2000, 20]]]]
        TS.MRANGE - + WITHLABELS FILTER type=(temp,hum) GROUPBY room REDUCE sum => [[\"room=kitchen\", [[\"room\", \"kitchen\"], [\"__reducer__\", \"sum\"], [\"__source__\", \"t2\"]], [[1000, 30], [3000, 40]]], [\"room=study\", [[\"room\", \"study\"], [\"__reducer__\", \"sum\"], [\"__source__\", \"h1,t1\"]], [[1000, 10], [2000, 70]]]]
        TS.MRANGE - + FILTER type=temp GROUPBY floor REDUCE count => [[\"floor=1\", [], [[1000, 1], [3000, 1]]]]
        TS.MRANGE - + FILTER type=temp GROUPBY type REDUCE first => (error) ERR TSDB: failed parsing reducer
        TS.MRANGE - + FILTER type=temp GROUPBY type => (error) ERR wrong number of arguments for 'ts.mrange' command
        TS.MRANGE - + FILTER => (error) ERR TSDB: missing labels for filter argument
        TS.MRANGE - + COUNT 1 => (error) ERR TSDB: missing FILTER argument",
    );
}

#[test]
fn resp3_has_maps_and_doubles() {
    let mut twin = Twin::new();
    twin.context.resp3 = true;
    twin.check(ROOMS);
    twin.check(
        "TS.GET t1 => [2000, ,20]
        TS.RANGE t1 - + => [[1000, ,10], [2000, ,20]]
        TS.MGET SELECTED_LABELS floor FILTER type=temp => {\"t1\": [{\"floor\": nil}, [2000, ,20]], \"t2\": [{\"floor\": \"1\"}, [3000, ,40]]}
        TS.MRANGE - + WITHLABELS FILTER floor=1 => {\"t2\": [{\"room\": \"kitchen\", \"type\": \"temp\", \"floor\": \"1\"}, {\"aggregators\": []}, [[1000, ,30], [3000, ,40]]]}
        TS.MRANGE - + AGGREGATION std.p 5000 FILTER floor=1 => {\"t2\": [{}, {\"aggregators\": [\"std.p\"]}, [[0, ,5]]]}
        TS.MRANGE - + WITHLABELS FILTER type=temp GROUPBY type REDUCE sum => {\"type=temp\": [{\"type\": \"temp\"}, {\"reducers\": [\"sum\"]}, {\"sources\": [\"t1\", \"t2\"]}, [[1000, ,40], [2000, ,20], [3000, ,40]]]}",
    );
}

#[test]
fn series_side_by_side() {
    check(
        "TS.CREATE a
        TS.CREATE b
        TS.CREATE c
        TS.MADD a 1000 10 a 2000 12 a 2500 13 b 1000 20 b 3000 25
        TS.NRANGE 2 a b - + => [[1000, [10, 20]], [2000, [12, NaN]], [2500, [13, NaN]], [3000, [NaN, 25]]]
        TS.NREVRANGE 2 a b - + COUNT 2 => [[3000, [NaN, 25]], [2500, [13, NaN]]]
        TS.NRANGE 1 c - + => []
        TS.NRANGE 2 a a - + COUNT 2 => [[1000, [10, 10]], [2000, [12, 12]]]
        TS.NRANGE 2 a b - + FILTER_BY_VALUE 11 21 => [[1000, [NaN, 20]], [2000, [12, NaN]], [2500, [13, NaN]]]
        TS.NRANGE 2 a b - + AGGREGATION avg sum 1000 => [[1000, [10, 20]], [2000, [12.5, NaN]], [3000, [NaN, 25]]]
        TS.NRANGE 2 a b - + AGGREGATION avg,max count 1000 => [[1000, [10, 10, 1]], [2000, [12.5, 13, NaN]], [3000, [NaN, NaN, 1]]]
        TS.NREVRANGE 2 a b - + AGGREGATION sum sum 1000 EMPTY => [[3000, [NaN, 25]], [2000, [25, 0]], [1000, [10, 20]]]
        TS.NRANGE 1 a - + ALIGN 500 AGGREGATION sum 1000 => [[500, [10]], [1500, [12]], [2500, [13]]]
        TS.NRANGE 3 a b - + => (error) ERR wrong number of arguments for 'ts.nrange' command
        TS.NRANGE x a - + => (error) ERR TSDB: numkeys must be a positive integer
        TS.NRANGE 1 a x + => (error) ERR TSDB: wrong fromTimestamp
        TS.NRANGE 1 a - + COUNT 0 => (error) ERR TSDB: Invalid COUNT value
        TS.NRANGE 1 a - + AGGREGATION sum => (error) ERR TSDB: Couldn't parse AGGREGATION
        TS.NRANGE 2 a b - + AGGREGATION avg 1000 => (error) ERR TSDB: the number of AGGREGATION arguments must be equal to numkeys
        TS.NRANGE 2 a b - + AGGREGATION avg foo 1000 => (error) ERR TSDB: Unknown aggregation type
        TS.NRANGE 2 a b - + AGGREGATION sum sum 0 => (error) ERR TSDB: bucketDuration must be greater than zero
        TS.NRANGE 1 a - + FILTER_BY_TS => (error) ERR TSDB: FILTER_BY_TS one or more arguments are missing
        TS.NRANGE 2 a missing - + => (error) ERR TSDB: the key does not exist",
    );
}

#[test]
fn a_read_may_wait() {
    let mut twin = Twin::new();
    twin.check(
        "TS.CREATE a
        TS.MADD a 1000 10 a 2000 12 a 2500 13
        TS.READ a 0 => [[1000, 10], [2000, 12], [2500, 13]]
        TS.READ a - MAX_COUNT 2 => [[1000, 10], [2000, 12]]
        TS.READ a + => [[2500, 13]]
        TS.READ a $ => []
        TS.READ a 1001 BLOCK 0 2 => [[2000, 12], [2500, 13]]
        TS.READ a 1001 BLOCK 0 3 => (waits)
        TS.READ nokey 0 => []
        TS.READ nokey 0 BLOCK 10 1 => (waits)
        TS.READ a -1 => (error) ERR TSDB: invalid timestamp
        TS.READ a 0 FOO => (error) ERR wrong number of arguments for 'ts.read' command
        TS.READ a 0 BLOCK 10 => (error) ERR wrong number of arguments for 'ts.read' command
        TS.READ a 0 MAX_COUNT 1 MAX_COUNT 2 => (error) ERR wrong number of arguments for 'ts.read' command
        TS.READ a 0 MAX_COUNT 0 => (error) ERR TSDB: MAX_COUNT must be a positive integer
        TS.READ a 0 BLOCK -1 1 => (error) ERR TSDB: BLOCK milliseconds must be a non-negative integer
        TS.READ a 0 BLOCK 10 0 => (error) ERR TSDB: BLOCK min_count must be a positive integer
        TS.READ a 0 BLOCK 10 3 MAX_COUNT 2 => (error) ERR TSDB: BLOCK min_count must be <= MAX_COUNT
        TS.READ a x MAX_COUNT 0 => (error) ERR TSDB: MAX_COUNT must be a positive integer",
    );
    let crate::Ran::Block(block) = twin.run(&["TS.READ", "a", "$", "BLOCK", "5", "1"]) else { panic!("no wait") };
    assert_eq!(block.again.and_then(|again| again.get(2).cloned()).as_deref(), Some(&b"2501"[..]));
    twin.context.must_not_wait = true;
    assert!(twin.line("TS.READ a $ BLOCK 0 1").contains("TSDB: blocking TS.READ"));
}

#[test]
fn what_is_wrong_is_told() {
    let mut twin = Twin::new();
    twin.check("ZADD z 1 a\nTS.CREATE k");
    twin.check(
        "TS.CREATE k => (error) ERR TSDB: key already exists
        TS.CREATE z => (error) ERR TSDB: key already exists
        TS.CREATE n RETENTION -1 => (error) ERR TSDB: Couldn't parse RETENTION
        TS.CREATE n RETENTION x => (error) ERR TSDB: Couldn't parse RETENTION
        TS.CREATE n CHUNK_SIZE 100 => (error) ERR TSDB: CHUNK_SIZE value must be a multiple of 8 in the range [48 .. 1048576]
        TS.CREATE n CHUNK_SIZE x => (error) ERR TSDB: Couldn't parse CHUNK_SIZE
        TS.CREATE n ENCODING foo => (error) ERR TSDB: unknown ENCODING parameter
        TS.CREATE n DUPLICATE_POLICY foo => (error) ERR TSDB: Unknown DUPLICATE_POLICY
        TS.ALTER nokey RETENTION 5 => (error) ERR TSDB: the key does not exist
        TS.ADD z 1 1 => (error) ERR TSDB: the key is not a TSDB key
        TS.ADD k 1 x => (error) ERR TSDB: invalid value
        TS.ADD k x 1 => (error) ERR TSDB: invalid timestamp
        TS.GET z => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        TS.GET nokey => (error) ERR TSDB: the key does not exist
        TS.RANGE nokey - + => (error) ERR TSDB: the key does not exist
        TS.RANGE k x + => (error) ERR TSDB: wrong fromTimestamp
        TS.RANGE k - x => (error) ERR TSDB: wrong toTimestamp
        TS.RANGE k - + COUNT => (error) ERR TSDB: COUNT argument is missing
        TS.RANGE k - + COUNT x => (error) ERR TSDB: Couldn't parse COUNT
        TS.RANGE k - + ALIGN 5 => (error) ERR TSDB: ALIGN parameter can only be used with AGGREGATION
        TS.RANGE k - + ALIGN - AGGREGATION sum 5 => (error) ERR TSDB: start alignment can only be used with explicit start timestamp
        TS.RANGE k - + ALIGN x AGGREGATION sum 5 => (error) ERR TSDB: unknown ALIGN parameter
        TS.RANGE k - + FILTER_BY_VALUE 1 => (error) ERR TSDB: FILTER_BY_VALUE one or more arguments are missing
        TS.RANGE k - + FILTER_BY_VALUE x 1 => (error) ERR TSDB: Couldn't parse MIN
        TS.INFO nokey => (error) ERR TSDB: the key does not exist
        TS.DEL nokey 1 2 => (error) ERR TSDB: the key does not exist
        TS.MADD k 1 => (error) ERR wrong number of arguments for 'ts.madd' command",
    );
}

#[test]
fn too_many_rows_are_refused() {
    check(
        "TS.CREATE k
        TS.MADD k 0 1 k 9000000000000 1
        TS.RANGE k - + AGGREGATION sum 1 EMPTY COUNT 2 => [[0, 1], [1, 0]]
        TS.RANGE k - + AGGREGATION sum 1 EMPTY => (error) ERR TSDB: the range has too many samples or buckets for one reply",
    );
}

#[test]
fn the_index_follows_keys_that_go() {
    let mut twin = Twin::new();
    twin.check(ROOMS);
    let context = twin.context.clone();
    let position = crate::Position { index: 1_000, n: 0 };
    let mut writer = crate::Writer::new(&mut twin.state, context, &mut twin.effects, position, 1);
    assert!(matches!(writer.remove(b"h1"), Ok(true)));
    assert!(writer.rename(b"t1", b"renamed").is_ok());
    assert!(writer.set_expire(b"t2", Some(5)).is_ok());
    twin.check(
        "TS.QUERYINDEX room=study => ~[\"renamed\"]
        TS.QUERYINDEX type=temp => ~[\"renamed\"]
        TS.MGET FILTER type=temp => [[\"renamed\", [], [2000, 20]]]",
    );
}

#[test]
fn events_tell_what_happened() {
    let mut twin = Twin::new();
    let mut check = |line: &str, want: &str| {
        twin.line(line);
        let events = twin.effects.notifications.iter().filter(|event| event.event != "new");
        let events: Vec<String> =
            events.map(|event| format!("{} {}", event.event, String::from_utf8_lossy(&event.key))).collect();
        assert_eq!(events.join(", "), want, "{line}");
    };
    check("TS.CREATE a", "ts.create a");
    check("TS.CREATE b", "ts.create b");
    check("TS.CREATERULE a b AGGREGATION sum 10", "ts.createrule:src a, ts.createrule:dest b");
    check("TS.ADD a 1 1", "ts.add a");
    check("TS.ADD a 1 1", "");
    check("TS.MADD a 11 1 a 12 1", "ts.add a, ts.add:dest b, ts.add a");
    check("TS.INCRBY a 1 TIMESTAMP 13", "ts.incrby a");
    check("TS.ALTER a RETENTION 100", "ts.alter a");
    check("TS.DEL a 1 5", "ts.del a, ts.del:dest b");
    check("TS.DELETERULE a b", "ts.deleterule:src a, ts.deleterule:dest b");
}

#[test]
fn rules_follow_names() {
    let mut twin = Twin::new();
    twin.check(
        "TS.CREATE a
        TS.CREATE b
        TS.CREATE c
        TS.CREATERULE a b AGGREGATION sum 10
        RENAME b sums
        RENAME a raw
        TS.MADD raw 1 1 raw 2 2 raw 11 5
        TS.RANGE sums - + => [[0, 3]]
        TS.RANGE sums - + LATEST => [[0, 3], [10, 5]]
        TS.CREATERULE c sums AGGREGATION sum 10 => (error) ERR TSDB: the destination key already has a src rule
        DEL raw
        TS.CREATERULE c sums AGGREGATION sum 10 => OK
        TS.MADD c 100 1 c 110 1
        TS.RANGE sums - + => [[0, 3], [100, 1]]
        # A destination that goes takes its rule along.
        DEL sums
        TS.ADD c 120 1
        TS.CREATE sums
        TS.ADD c 130 1
        TS.RANGE sums - + => []
        # A source may take the name of its destination.
        TS.CREATERULE c sums AGGREGATION sum 10
        RENAME c sums
        TS.ADD sums 140 1
        TS.RANGE sums 130 + => [[130, 1], [140, 1]]",
    );
    assert!(info(&mut twin, "sums").contains("sourceKey: nil, rules: []"));
}

#[test]
fn series_whose_time_is_over_are_not_found() {
    let mut twin = Twin::new();
    twin.check(ROOMS);
    twin.check("PEXPIRE t1 100 => 1\nPEXPIRE h1 1000\nPERSIST h1\nTS.QUERYINDEX room=study => ~[\"h1\", \"t1\"]");
    twin.context.now += 100;
    twin.check("TS.QUERYINDEX room=study => ~[\"h1\"]\nTS.QUERYLABELS VALUES type FILTER room=study => ~[\"hum\"]");
    twin.context.now += 1_000;
    twin.check("TS.QUERYINDEX room=study => ~[\"h1\"]");
}
