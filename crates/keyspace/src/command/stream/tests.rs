use crate::twin::Twin;
use crate::{Ran, Reply};

/// A stream with the entries 1-1 to 5-5 and a group `g` that has read nothing.
fn five() -> Twin {
    let mut twin = Twin::new();
    twin.check(
        "XADD s 1-1 n 1
         XADD s 2-2 n 2
         XADD s 3-3 n 3
         XADD s 4-4 n 4
         XADD s 5-5 n 5
         XGROUP CREATE s g 0",
    );
    twin
}

#[test]
fn ids_of_new_entries() {
    Twin::new().check(
        r#"XADD s 5 a 1 => "5-0"
           XADD s 5-* a 1 => "5-1"
           XADD s 5-1 a 1 => (error) ERR The ID specified in XADD is equal or smaller than the target stream top item
           XADD s 4-* a 1 => (error) ERR The ID specified in XADD is equal or smaller than the target stream top item
           XADD s 0-0 a 1 => (error) ERR The ID specified in XADD must be greater than 0-0
           XADD s x a 1 => (error) ERR Invalid stream ID specified as stream command argument
           XADD s 7-7-* a 1 => (error) ERR Invalid stream ID specified as stream command argument
           XADD s * a => (error) ERR wrong number of arguments for 'xadd' command
           XADD s * a 1 b => (error) ERR wrong number of arguments for 'xadd' command
           XADD s * a 1 => "1704067200000-0"
           XADD s * a 1 => "1704067200000-1"
           XADD z 0-* a 1 => "0-1"
           XADD s 18446744073709551615-18446744073709551615 a 1
           XADD s * a 1 => (error) ERR The stream has exhausted the last possible ID, unable to add more items
           XADD none NOMKSTREAM * a 1 => nil
           XLEN none => 0
           XLEN s => 5"#,
    );
}

#[test]
fn ranges() {
    five().check(
        r#"XLEN s => 5
           XRANGE s 2 3 => [["2-2", ["n", "2"]], ["3-3", ["n", "3"]]]
           XRANGE s (2-2 4 COUNT 1 => [["3-3", ["n", "3"]]]
           XREVRANGE s + (3-3 => [["5-5", ["n", "5"]], ["4-4", ["n", "4"]]]
           XREVRANGE s 4-4 - COUNT 2 => [["4-4", ["n", "4"]], ["3-3", ["n", "3"]]]
           XRANGE s 4 2 => []
           XRANGE s - + COUNT 0 => nil
           XRANGE none - + => []
           XRANGE s (18446744073709551615-18446744073709551615 + => (error) ERR invalid start ID for the interval
           XRANGE s - (0-0 => (error) ERR invalid end ID for the interval
           XRANGE s (- + => (error) ERR Invalid stream ID specified as stream command argument
           XRANGE s - + COUNT => (error) ERR syntax error"#,
    );
}

#[test]
fn trims_and_deletes() {
    five().check(
        r#"XTRIM s MAXLEN 4 => 1
           XTRIM s MINID 3 => 1
           XTRIM s MAXLEN ~ 1 => 0
           XTRIM s MAXLEN = 3 => 0
           XTRIM s MAXLEN 3 LIMIT 1 => (error) ERR syntax error, LIMIT cannot be used without the special ~ option
           XTRIM s LIMIT 1 MAXLEN => (error) ERR syntax error
           XTRIM s MAXLEN -1 => (error) ERR The MAXLEN argument must be >= 0.
           XTRIM s MAXLEN 1 MINID 1 => (error) ERR syntax error, MAXLEN and MINID options at the same time are not compatible
           XDEL s 4-4 9-9 => 1
           XRANGE s - + => [["3-3", ["n", "3"]], ["5-5", ["n", "5"]]]
           XINFO STREAM s => {"length": 2, "radix-tree-keys": 1, "radix-tree-nodes": 2, "last-generated-id": "5-5", "max-deleted-entry-id": "4-4", "entries-added": 5, "recorded-first-entry-id": "3-3", "groups": 1, "first-entry": ["3-3", ["n", "3"]], "last-entry": ["5-5", ["n", "5"]]}
           XDEL s 5-5 3-3 => 2
           XLEN s => 0
           XADD s 5-5 a 1 => (error) ERR The ID specified in XADD is equal or smaller than the target stream top item
           XADD s MAXLEN 0 6-6 a 1 => "6-6"
           XLEN s => 0"#,
    );
}

#[test]
fn blocks_are_trimmed_whole() {
    let mut twin = Twin::new();
    for n in 1..=250 {
        twin.line(&format!("XADD s {n} field value{n}"));
    }
    twin.check(
        r"XTRIM s MAXLEN ~ 240 => 0
          XTRIM s MAXLEN ~ 120 LIMIT 50 => 0
          XTRIM s MAXLEN ~ 120 => 100
          XTRIM s MINID ~ 220 => 100
          XLEN s => 50
          XTRIM s MAXLEN 49 => 1",
    );
}

#[test]
fn sets_the_last_id() {
    five().check(
        "XSETID s 4-4 => (error) ERR The ID specified in XSETID is smaller than the target stream top item
         XSETID s 9-9 ENTRIESADDED 3 => (error) ERR The entries_added specified in XSETID is smaller than the target stream length
         XSETID s 9-9 MAXDELETEDID 10-1 => (error) ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id
         XSETID s 9-9 ENTRIESADDED -1 => (error) ERR entries_added must be positive
         XSETID s 9-9 MORE => (error) ERR syntax error
         XSETID none 9-9 => (error) ERR no such key
         XSETID s 9-9 ENTRIESADDED 50 MAXDELETEDID 7-7 => OK
         XADD s 9-9 a 1 => (error) ERR The ID specified in XADD is equal or smaller than the target stream top item",
    );
}

#[test]
fn reads() {
    let mut twin = five();
    twin.check(
        r#"XREAD STREAMS s none 3-3 0 => [["s", [["4-4", ["n", "4"]], ["5-5", ["n", "5"]]]]]
           XREAD COUNT 1 STREAMS s 0 => [["s", [["1-1", ["n", "1"]]]]]
           XREAD STREAMS s + => [["s", [["5-5", ["n", "5"]]]]]
           XREAD STREAMS s $ => nil
           XREAD STREAMS s 5-5 => nil
           XREAD STREAMS s > => (error) ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.
           XREAD STREAMS s s 1 => (error) ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.
           XREAD COUNT 1 STREAMS => (error) ERR syntax error
           XREAD NOACK STREAMS s 1 => (error) ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.
           XREAD BLOCK -1 STREAMS s $ => (error) ERR timeout is negative
           XREAD BLOCK x STREAMS s $ => (error) ERR timeout is not an integer or out of range"#,
    );
    twin.context.resp3 = true;
    twin.check(r#"XREAD STREAMS s 3-3 => {"s": [["4-4", ["n", "4"]], ["5-5", ["n", "5"]]]}"#);
    let Ran::Block(block) = twin.run(&["XREAD", "BLOCK", "100", "STREAMS", "s", "none", "$", "+"]) else {
        panic!("it does not wait")
    };
    assert_eq!((block.timeout_ms, block.otherwise), (100, Reply::NullArray));
    let again: Vec<_> = block.again.unwrap_or_default().iter().map(|arg| arg.to_vec()).collect();
    assert_eq!(again[6..], [b"5-5".to_vec(), b"0-0".to_vec()]);
}

#[test]
fn groups_deliver_once() {
    let mut twin = five();
    twin.check(
        r#"XREADGROUP GROUP g a COUNT 2 STREAMS s > => [["s", [["1-1", ["n", "1"]], ["2-2", ["n", "2"]]]]]
           XREADGROUP GROUP g b COUNT 1 STREAMS s > => [["s", [["3-3", ["n", "3"]]]]]
           XREADGROUP GROUP g a STREAMS s 0 => [["s", [["1-1", ["n", "1"]], ["2-2", ["n", "2"]]]]]
           XREADGROUP GROUP g a STREAMS s 1-1 => [["s", [["2-2", ["n", "2"]]]]]
           XREADGROUP GROUP g c STREAMS s 0 => [["s", []]]
           XPENDING s g => [3, "1-1", "3-3", [["a", "2"], ["b", "1"]]]
           XPENDING s g - + 10 => [["1-1", "a", 0, 2], ["2-2", "a", 0, 3], ["3-3", "b", 0, 1]]
           XPENDING s g - + 10 b => [["3-3", "b", 0, 1]]
           XPENDING s g - + 10 none => []
           XPENDING s g IDLE 1 - + 10 => []
           XACK s g 1-1 9-9 => 1
           XACK s g 1-1 => 0
           XACK none g 1-1 => 0
           XACK s g x => (error) ERR Invalid stream ID specified as stream command argument
           XDEL s 2-2
           XREADGROUP GROUP g a STREAMS s 0 => [["s", [["2-2", nil]]]]
           XREADGROUP GROUP g b NOACK STREAMS s > => [["s", [["4-4", ["n", "4"]], ["5-5", ["n", "5"]]]]]
           XREADGROUP GROUP g b STREAMS s > => nil
           XPENDING s g => [2, "2-2", "3-3", [["a", "1"], ["b", "1"]]]
           XREADGROUP GROUP none b STREAMS s > => (error) NOGROUP No such key 's' or consumer group 'none' in XREADGROUP with GROUP option
           XREADGROUP GROUP g b STREAMS s $ => (error) ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.
           XREADGROUP GROUP g b BLOCK 0 STREAMS s > => (waits)
           XADD s 6-6 n 6
           XREADGROUP GROUP g b BLOCK 0 STREAMS s > => [["s", [["6-6", ["n", "6"]]]]]
           XPENDING s none => (error) NOGROUP No such key 's' or consumer group 'none'
           XGROUP DESTROY s g => 1
           XGROUP DESTROY s g => 0"#,
    );
}

#[test]
fn consumers_are_seen_and_active() {
    let mut twin = five();
    twin.check("XREADGROUP GROUP g a COUNT 1 STREAMS s >");
    twin.context.now += 1_000;
    twin.check(
        r#"XREADGROUP GROUP g b STREAMS s 0
           XINFO CONSUMERS s g => [{"name": "a", "pending": 1, "idle": 1000, "inactive": 1000}, {"name": "b", "pending": 0, "idle": 0, "inactive": -1}]
           XPENDING s g IDLE 1000 - + 10 => [["1-1", "a", 1000, 1]]
           XPENDING s g IDLE 1001 - + 10 => []
           XGROUP CREATECONSUMER s g c => 1
           XGROUP CREATECONSUMER s g c => 0
           XGROUP DELCONSUMER s g a => 1
           XGROUP DELCONSUMER s g a => 0
           XPENDING s g => [0, nil, nil, nil]
           XGROUP CREATECONSUMER s none c => (error) NOGROUP No such consumer group 'none' for key name 's'
           XINFO CONSUMERS s none => (error) NOGROUP No such consumer group 'none' for key name 's'
           XINFO CONSUMERS none g => (error) ERR no such key"#,
    );
}

#[test]
fn claims() {
    let mut twin = five();
    twin.check("XREADGROUP GROUP g a COUNT 3 STREAMS s >");
    twin.context.now += 5_000;
    twin.check(
        r#"XCLAIM s g b 5000 1-1 => [["1-1", ["n", "1"]]]
           XCLAIM s g b 5001 2-2 => []
           XCLAIM s g b 0 2-2 JUSTID IDLE 100 => ["2-2"]
           XPENDING s g - + 10 => [["1-1", "b", 0, 2], ["2-2", "b", 100, 1], ["3-3", "a", 5000, 1]]
           XCLAIM s g b 0 4-4 => []
           XCLAIM s g b 0 4-4 FORCE RETRYCOUNT 7 => [["4-4", ["n", "4"]]]
           XCLAIM s g b 0 9-9 FORCE => []
           XCLAIM s g b 0 4-4 NOW => (error) ERR Unrecognized XCLAIM option 'NOW'
           XCLAIM s g b x 4-4 => (error) ERR Invalid min-idle-time argument for XCLAIM
           XCLAIM s none b 0 4-4 => (error) NOGROUP No such key 's' or consumer group 'none'
           XDEL s 3-3
           XAUTOCLAIM s g c 100 0 COUNT 2 => ["4-4", [["2-2", ["n", "2"]]], ["3-3"]]
           XAUTOCLAIM s g c 0 3 => ["0-0", [["4-4", ["n", "4"]]], []]
           XAUTOCLAIM s g c 0 0 COUNT 1 JUSTID => ["2-2", ["1-1"], []]
           XAUTOCLAIM s g c 0 0 COUNT 0 => (error) ERR COUNT must be > 0
           XPENDING s g => [3, "1-1", "4-4", [["c", "3"]]]"#,
    );
}

#[test]
fn lag() {
    let mut twin = five();
    let lag = r#"XINFO GROUPS s => [{"name": "g", "consumers": 1, "pending": 0, "last-delivered-id": "#;
    twin.check(&format!(
        r#"XREADGROUP GROUP g a NOACK COUNT 1 STREAMS s >
           {lag}"1-1", "entries-read": 1, "lag": 4}}]
           XADD s 6-6 n 6
           {lag}"1-1", "entries-read": 1, "lag": 5}}]
           XDEL s 3-3
           {lag}"1-1", "entries-read": 1, "lag": nil}}]
           XREADGROUP GROUP g a NOACK COUNT 2 STREAMS s >
           {lag}"4-4", "entries-read": nil, "lag": nil}}]
           XREADGROUP GROUP g a NOACK STREAMS s >
           {lag}"6-6", "entries-read": 6, "lag": 0}}]
           XGROUP SETID s g 5-5 ENTRIESREAD 3
           {lag}"5-5", "entries-read": 3, "lag": 3}}]
           XGROUP SETID s g $
           {lag}"6-6", "entries-read": nil, "lag": 0}}]"#
    ));
}

#[test]
fn deletes_with_references() {
    let mut twin = five();
    twin.check(
        r"XGROUP CREATE s h 0
          XREADGROUP GROUP g a COUNT 4 STREAMS s >
          XREADGROUP GROUP h a COUNT 2 STREAMS s >
          XDELEX s ACKED IDS 2 1-1 9-9 => [2, -1]
          XACKDEL s g ACKED IDS 2 1-1 3-3 => [2, 2]
          XACKDEL s h ACKED IDS 1 1-1 => [1]
          XDELEX s DELREF IDS 1 2-2 => [1]
          XPENDING s h => [0, nil, nil, nil]
          XDELEX s IDS 1 4-4 => [1]
          XACKDEL s g IDS 1 4-4 => [1]
          XACKDEL s g IDS 1 4-4 => [-1]
          XDELEX none IDS 2 1-1 2-2 => [-1, -1]
          XACKDEL s none IDS 1 1-1 => [-1]
          XDELEX s IDS 0 1-1 => (error) ERR Number of IDs must be a positive integer
          XDELEX s IDS 3 1-1 2-2 => (error) ERR The `numids` parameter must match the number of arguments
          XDELEX s IDS 1 1-1 2-2 => (error) ERR syntax error
          XDELEX s ACKED DELREF IDS 1 1-1 => (error) ERR syntax error
          XLEN s => 2",
    );
}

#[test]
fn gives_back() {
    let mut twin = five();
    twin.check(
        r#"XREADGROUP GROUP g a COUNT 3 STREAMS s >
           XNACK s g FAIL IDS 2 1-1 9-9 => 1
           XNACK s g SILENT IDS 1 2-2 => 1
           XNACK s g FATAL IDS 1 3-3 RETRYCOUNT 4 => 1
           XNACK s g FAIL IDS 1 5-5 => 0
           XNACK s g FATAL IDS 1 5-5 FORCE => 1
           XPENDING s g - + 10 => [["1-1", "", -1, 1], ["2-2", "", -1, 0], ["3-3", "", -1, 4], ["5-5", "", -1, 9223372036854775807]]
           XPENDING s g => [4, "1-1", "5-5", []]
           XCLAIM s g b 99999 1-1 JUSTID => ["1-1"]
           XAUTOCLAIM s g b 99999 0 JUSTID => ["0-0", ["2-2", "3-3", "5-5"], []]
           XNACK s g FAIL IDS 0 1-1 => (error) ERR numids must be a positive integer
           XNACK s g OFTEN IDS 1 1-1 => (error) ERR syntax error"#,
    );
}

#[test]
fn groups_are_made() {
    Twin::new().check(
        r"XGROUP CREATE s g $ => (error) ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
          XGROUP CREATE s g $ MKSTREAM => OK
          XGROUP CREATE s g $ => (error) BUSYGROUP Consumer Group name already exists
          XGROUP CREATE s h x => (error) ERR Invalid stream ID specified as stream command argument
          XGROUP CREATE s h 0 ENTRIESREAD -2 => (error) ERR value for ENTRIESREAD must be positive or -1
          XGROUP CREATE s h 0 MORE => (error) ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
          XGROUP SETID s none 0 => (error) NOGROUP No such consumer group 'none' for key name 's'
          XINFO STREAM s MORE => (error) ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
          XLEN s => 0",
    );
}
