use crate::twin::Twin;

#[test]
fn replies_are_those_of_redis() {
    Twin::new().check(
        r##"
        DEL nokey => 0
        MSET a 1 b 2 c 3 => OK
        DEL a b x a => 2
        UNLINK c => 1
        EXISTS a => 0
        MSET a 1 b 2 => OK
        EXISTS a b a zz => 3
        TOUCH a b zz => 2
        TYPE a => string
        TYPE zz => none
        EXPIRE a => (error) ERR wrong number of arguments for 'expire' command
        EXPIRE a 100 => 1
        TTL a => 100
        EXPIRE a 50 GT => 0
        TTL a => 100
        EXPIRE a 50 LT => 1
        TTL a => 50
        EXPIRE a 200 NX => 0
        EXPIRE b 200 XX => 0
        EXPIRE b 200 GT => 0
        EXPIRE b 200 LT => 1
        TTL b => 200
        EXPIRE b 300 NX XX => (error) ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE b 300 NX GT => (error) ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE b 300 GT LT => (error) ERR GT and LT options at the same time are not compatible
        EXPIRE b 300 XX GT => 1
        TTL b => 300
        EXPIRE b 300 FOO => (error) ERR Unsupported option FOO
        EXPIRE b 300 XX FOO => (error) ERR Unsupported option FOO
        EXPIRE b abc => (error) ERR value is not an integer or out of range
        EXPIRE b abc FOO => (error) ERR Unsupported option FOO
        EXPIRE b 9223372036854775807 => (error) ERR invalid expire time in 'expire' command
        EXPIRE b 9223372036854776 => (error) ERR invalid expire time in 'expire' command
        EXPIRE b -9223372036854776 => (error) ERR invalid expire time in 'expire' command
        EXPIRE b 9223372036854770 => (error) ERR invalid expire time in 'expire' command
        PEXPIRE b 9223372036854775807 => (error) ERR invalid expire time in 'pexpire' command
        PEXPIREAT b 9223372036854775807 => 1
        PEXPIRETIME b => 9223372036854775807
        EXPIRETIME b => 9223372036854776
        EXPIREAT b 9223372036854775 => 1
        EXPIREAT b 9223372036854776 => (error) ERR invalid expire time in 'expireat' command
        PEXPIREAT b -9223372036854775808 => 1
        EXISTS b => 0
        EXPIRE nokey 10 => 0
        SET b 1 => OK
        EXPIRE b 0 => 1
        EXISTS b => 0
        SET b 1 => OK
        EXPIRE b -1 => 1
        EXISTS b => 0
        SET b 1 => OK
        PEXPIREAT b 1 => 1
        EXISTS b => 0
        PERSIST a => 1
        PERSIST a => 0
        PERSIST nokey => 0
        TTL a => -1
        TTL nokey => -2
        PTTL nokey => -2
        EXPIRETIME nokey => -2
        EXPIREAT a 4000000000 => 1
        EXPIRETIME a => 4000000000
        PEXPIREAT a 4000000000499 => 1
        EXPIRETIME a => 4000000000
        PEXPIREAT a 4000000000500 => 1
        EXPIRETIME a => 4000000001
        PEXPIRETIME a => 4000000000500
        RENAME nokey x => (error) ERR no such key
        RENAME a a => OK
        RENAME a b => OK
        GET a => nil
        GET b => "1"
        PEXPIRETIME b => 4000000000500
        SET c 7 => OK
        RENAMENX b c => 0
        RENAMENX b d => 1
        RENAMENX nokey d => (error) ERR no such key
        RENAMENX d d => 0
        RENAME nokey nokey => (error) ERR no such key
        EXISTS d b => 1
        COPY d e => 1
        COPY d e => 0
        COPY d e REPLACE => 1
        PEXPIRETIME e => 4000000000500
        COPY d d => (error) ERR source and destination objects are the same
        COPY d d DB 0 => (error) ERR source and destination objects are the same
        COPY d d DB 1 => 1
        COPY d d DB 16 => (error) ERR DB index is out of range
        COPY d d DB -1 => (error) ERR DB index is out of range
        COPY d d DB abc => (error) ERR value is not an integer or out of range
        COPY d d DB 99999999999 => (error) ERR value is out of range, value must between -2147483648 and 2147483647
        COPY d f DB => (error) ERR syntax error
        COPY d f FOO => (error) ERR syntax error
        COPY nokey f => 0
        MOVE d 0 => (error) ERR source and destination objects are the same
        MOVE d 16 => (error) ERR DB index is out of range
        MOVE d abc => (error) ERR value is not an integer or out of range
        MOVE d 99999999999 => (error) ERR value is out of range, value must between -2147483648 and 2147483647
        MOVE d 1 => 0
        MOVE e 2 => 1
        MOVE e 2 => 0
        EXISTS e => 0
        SWAPDB 0 2 => OK
        GET e => "1"
        PEXPIRETIME e => 4000000000500
        SWAPDB 0 2 => OK
        SWAPDB 0 abc => (error) ERR invalid second DB index
        SWAPDB abc 0 => (error) ERR invalid first DB index
        SWAPDB 0 16 => (error) ERR DB index is out of range
        SWAPDB 16 0 => (error) ERR DB index is out of range
        SWAPDB 0 0 => OK
        FLUSHDB foo => (error) ERR syntax error
        FLUSHDB async => OK
        FLUSHALL SYNC => OK
        FLUSHALL SYNC ASYNC => (error) ERR syntax error
        RANDOMKEY => nil
        SET foo 1 => OK
        RANDOMKEY => "foo"
        KEYS * => ["foo"]
        KEYS f?o => ["foo"]
        KEYS f[a-p]o => ["foo"]
        KEYS f[^o]o => []
        KEYS bar* => []
        SCAN 0 => ["0", ["foo"]]
        SCAN abc => (error) ERR invalid cursor
        SCAN -1 => ["0", []]
        SCAN 0 COUNT 0 => (error) ERR syntax error
        SCAN 0 COUNT -1 => (error) ERR syntax error
        SCAN 0 COUNT abc => (error) ERR value is not an integer or out of range
        SCAN 0 COUNT => (error) ERR syntax error
        SCAN 0 FOO bar => (error) ERR syntax error
        SCAN 0 MATCH f* => ["0", ["foo"]]
        SCAN 0 MATCH g* => ["0", []]
        SCAN 0 TYPE string => ["0", ["foo"]]
        SCAN 0 TYPE STRING => ["0", ["foo"]]
        SCAN 0 TYPE list => ["0", []]
        SCAN 0 TYPE nosuch => ["0", []]
        SCAN 0 COUNT 100 MATCH f* TYPE string => ["0", ["foo"]]
        KEYS => (error) ERR wrong number of arguments for 'keys' command
        SCAN => (error) ERR wrong number of arguments for 'scan' command
        OBJECT ENCODING foo => "int"
        OBJECT ENCODING nokey => nil
        OBJECT REFCOUNT foo => 2147483647
        OBJECT REFCOUNT nokey => nil
        OBJECT IDLETIME foo => 0
        OBJECT IDLETIME nokey => nil
        OBJECT FREQ foo => (error) ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
        OBJECT FREQ nokey => nil
        SET foo 10000 => OK
        OBJECT REFCOUNT foo => 1
        MEMORY USAGE nokey => nil
        MEMORY USAGE nokey SAMPLES 5 => nil
        MEMORY USAGE foo SAMPLES -1 => (error) ERR syntax error
        MEMORY USAGE foo SAMPLES a => (error) ERR value is not an integer or out of range
        MEMORY USAGE foo FOO => (error) ERR syntax error
        MEMORY USAGE foo SAMPLES => (error) ERR syntax error
        SET foo bar PXAT 1 => OK
        EXISTS foo => 0
        TYPE foo => none
        RENAME foo x => (error) ERR no such key
    "##,
    );
}

fn items(ran: crate::Ran) -> Vec<crate::Reply> {
    match ran {
        crate::Ran::Reply(crate::Reply::Array(items)) => items,
        other => panic!("{other:?}"),
    }
}

/// All keys that a SCAN gives, with another command between its steps.
fn scan(twin: &mut Twin, count: &str, mut between: impl FnMut(&mut Twin)) -> Vec<String> {
    let (mut cursor, mut keys) = ("0".to_owned(), Vec::new());
    loop {
        let reply = items(twin.run(&["SCAN", &cursor, "COUNT", count]));
        let [crate::Reply::Bulk(next), crate::Reply::Array(found)] = &reply[..] else { panic!("{reply:?}") };
        keys.extend(found.iter().map(crate::twin::text));
        cursor = String::from_utf8_lossy(next).into_owned();
        if cursor == "0" {
            keys.sort();
            return keys;
        }
        between(twin);
    }
}

#[test]
fn scan_gives_every_key_once_while_others_come_and_go() {
    let mut twin = Twin::new();
    for n in 0..2_000 {
        twin.run(&["SET", &format!("key{n}"), "v"]);
    }
    for count in ["1", "10", "333", "100000"] {
        let mut n = 0;
        let keys = scan(&mut twin, count, |twin| {
            twin.run(&["SET", &format!("other{n}"), "v"]);
            twin.run(&["DEL", &format!("other{}", n - 5)]);
            n += 1;
        });
        let stayed: Vec<_> = keys.iter().filter(|key| key.starts_with("\"key")).collect();
        assert_eq!(stayed.len(), 2_000, "{count}");
        assert!(stayed.windows(2).all(|pair| pair[0] != pair[1]));
    }
    assert_eq!(items(twin.run(&["KEYS", "key1*"])).len(), 1_111);
}

#[test]
fn randomkey_chooses_among_all() {
    let mut twin = Twin::new();
    twin.check("MSET a 1 b 2 c 3");
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..100 {
        twin.context.random = n;
        seen.insert(twin.line("RANDOMKEY"));
    }
    assert_eq!(seen.len(), 3);
    twin.check("FLUSHDB\nSET over 1 PXAT 1\nRANDOMKEY => nil");
}

#[test]
fn events_have_the_names_of_redis() {
    let mut twin = Twin::new();
    let mut check = |line: &str, want: &str| {
        twin.line(line);
        let told = twin.effects.notifications.iter().filter(|told| told.event != "new");
        let told: Vec<_> = told.map(|told| format!("{}:{}", told.event, told.key.escape_ascii())).collect();
        assert_eq!(told.join(" "), want, "{line}");
    };
    check("SET a 1 EX 5", "set:a expire:a");
    check("SET a 1 EX 5 NX", "");
    check("EXPIRE a 10", "expire:a");
    check("EXPIRE a 10 NX", "");
    check("PERSIST a", "persist:a");
    check("PERSIST a", "");
    check("RENAME a b", "rename_from:a rename_to:b");
    check("RENAME b b", "");
    check("COPY b c", "copy_to:c");
    check("MOVE b 1", "move_from:b move_to:b");
    check("EXPIRE c 0", "del:c");
    check("MSET x 1 y 2", "set:x set:y");
    check("DEL x y z", "del:x del:y");
    check("INCR n", "incrby:n");
    check("INCRBYFLOAT n 1", "incrbyfloat:n");
    check("APPEND n 1", "append:n");
    check("SETRANGE n 0 1", "setrange:n");
    check("GETEX n EX 10", "expire:n");
    check("GETDEL n", "del:n");
}

#[test]
fn watched_keys_see_a_flush() {
    let mut twin = Twin::new();
    twin.check("SET a 1\nFLUSHALL\nDBSIZE => 0\nSET a 1\nDBSIZE => 1");
    twin.check("FLUSHALL");
    assert_eq!(twin.effects.flushed.len(), 1);
}

#[test]
fn sort_replies_are_those_of_redis() {
    Twin::new().check(
        r##"
        RPUSH l 3 1 2 10 -5 2.5 => 6
        SORT l => ["-5", "1", "2", "2.5", "3", "10"]
        SORT l DESC => ["10", "3", "2.5", "2", "1", "-5"]
        SORT l ALPHA => ["-5", "1", "10", "2", "2.5", "3"]
        SORT l ALPHA DESC => ["3", "2.5", "2", "10", "1", "-5"]
        SORT l LIMIT 1 2 => ["1", "2"]
        SORT l LIMIT 0 -1 => ["-5", "1", "2", "2.5", "3", "10"]
        SORT l LIMIT -1 3 => ["-5", "1", "2"]
        SORT l LIMIT 100 3 => []
        SORT l LIMIT 2 0 => []
        SORT l LIMIT 2 => (error) ERR syntax error
        SORT l LIMIT a b => (error) ERR value is not an integer or out of range
        SORT l LIMIT 0 1 LIMIT 1 2 => ["1", "2"]
        SORT l FOO => (error) ERR syntax error
        SORT l BY => (error) ERR syntax error
        SORT l GET => (error) ERR syntax error
        SORT l STORE => (error) ERR syntax error
        SORT nokey => []
        SORT nokey STORE x => 0
        SET s str => OK
        SORT s => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        SORT s FOO => (error) ERR syntax error
        MSET w_1 30 w_2 20 w_3 10 w_10 5 w_-5 7 d_1 one d_2 two d_3 three => OK
        SORT l BY w_* => ["2.5", "10", "-5", "3", "2", "1"]
        SORT l BY w_* DESC => ["1", "2", "3", "-5", "10", "2.5"]
        SORT l BY w_* ALPHA => ["2.5", "3", "2", "1", "10", "-5"]
        SORT l BY w_* ALPHA DESC => ["-5", "10", "1", "2", "3", "2.5"]
        SORT l BY w_* GET d_* => [nil, nil, nil, "three", "two", "one"]
        SORT l BY w_* GET # GET d_* GET d_x => ["2.5", nil, nil, "10", nil, nil, "-5", nil, nil, "3", "three", nil, "2", "two", nil, "1", "one", nil]
        SORT l BY nosort => ["3", "1", "2", "10", "-5", "2.5"]
        SORT l BY nosort DESC => ["2.5", "-5", "10", "2", "1", "3"]
        SORT l BY nosort LIMIT 1 2 GET # => ["1", "2"]
        SORT l BY d_* => (error) ERR One or more scores can't be converted into double
        SORT l BY d_* ALPHA => ["10", "-5", "2.5", "1", "3", "2"]
        HSET h_1 f 5 g a => 2
        HSET h_2 f 4 g b => 2
        HSET h_3 f 6 => 1
        SORT l BY h_*->f => ["-5", "10", "2.5", "2", "1", "3"]
        SORT l BY h_*->f GET h_*->g GET # => [nil, "-5", nil, "10", nil, "2.5", "b", "2", "a", "1", nil, "3"]
        SORT l BY h_*->f GET h_*-> => [nil, nil, nil, nil, nil, nil]
        SORT l BY h_*-> ALPHA => ["3", "1", "2", "10", "-5", "2.5"]
        SORT l GET h_* => [nil, nil, nil, nil, nil, nil]
        SORT l BY * => ["-5", "1", "10", "2", "2.5", "3"]
        SORT l GET * => [nil, nil, nil, nil, nil, nil]
        SORT l GET "*->f" => [nil, nil, nil, nil, nil, nil]
        SORT l BY w_* STORE d => 6
        LRANGE d 0 -1 => ["2.5", "10", "-5", "3", "2", "1"]
        TYPE d => list
        SORT l GET d_* STORE d => 6
        LRANGE d 0 -1 => ["", "one", "two", "", "three", ""]
        SORT nokey STORE d => 0
        EXISTS d => 0
        SORT l LIMIT 0 0 STORE d => 0
        RPUSH t a b c => 3
        SORT t => (error) ERR One or more scores can't be converted into double
        SORT t ALPHA => ["a", "b", "c"]
        SORT t ALPHA DESC LIMIT 0 2 => ["c", "b"]
        RPUSH t2 " 1" "" 2 => 3
        SORT t2 => ["", " 1", "2"]
        RPUSH t3 1 "2 " => 2
        SORT t3 => (error) ERR One or more scores can't be converted into double
        RPUSH t4 inf -inf 0 nan => 4
        SORT t4 => (error) ERR One or more scores can't be converted into double
        RPUSH t5 inf -inf 0 0x10 => 4
        SORT t5 => ["-inf", "0", "0x10", "inf"]
        SADD set 3 1 2 => 3
        SORT set => ["1", "2", "3"]
        SORT set BY nosort STORE x => 3
        LRANGE x 0 -1 => ["1", "2", "3"]
        SADD set2 c a b => 3
        SORT set2 ALPHA => ["a", "b", "c"]
        SORT set2 => (error) ERR One or more scores can't be converted into double
        SORT set2 BY nosort STORE x => 3
        LRANGE x 0 -1 => ["a", "b", "c"]
        SORT set2 BY nosort DESC STORE x => 3
        LRANGE x 0 -1 => ["c", "b", "a"]
        ZADD z 1 a 2 b 3 c => 3
        SORT z ALPHA DESC => ["c", "b", "a"]
        SORT z BY nosort => ["a", "b", "c"]
        SORT z BY nosort DESC => ["c", "b", "a"]
        SORT z BY nosort DESC LIMIT 0 2 => ["c", "b"]
        SORT z BY nosort LIMIT 1 10 => ["b", "c"]
        SORT_RO l => ["-5", "1", "2", "2.5", "3", "10"]
        SORT_RO l BY w_* GET d_* => [nil, nil, nil, "three", "two", "one"]
        SORT_RO l STORE x => (error) ERR syntax error
        RPUSH same 1 1.0 01 1e0 => 4
        SORT same => ["01", "1", "1.0", "1e0"]
        SORT same DESC => ["1e0", "1.0", "1", "01"]
        MSET k1 1 k2 1 k3 0 => OK
        RPUSH eq 3 2 1 => 3
        SORT eq BY k* => ["3", "1", "2"]
        SORT eq BY k* DESC => ["2", "1", "3"]
        SORT l GET # GET # LIMIT 0 2 => ["-5", "-5", "1", "1"]
        SORT w_1 => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        HSET hh a b => 1
        SORT hh => (error) WRONGTYPE Operation against a key holding the wrong kind of value
    "##,
    );
}

#[test]
fn the_destination_of_sort_is_one_of_its_keys() {
    let check = |line: &str, want: &[usize]| {
        let args: Vec<_> = crate::twin::words(line).into_iter().map(bytes::Bytes::from).collect();
        let spec = crate::command::find(&args[0]).unwrap();
        let keys: Vec<usize> = spec.keys_of(&args).into_iter().map(|(at, _)| at).collect();
        assert_eq!(keys, want, "{line}");
    };
    check("SORT k", &[1]);
    check("SORT k LIMIT 0 store STORE to", &[1, 6]);
    check("SORT k BY store STORE to ASC", &[1, 5]);
    check("SORT k STORE to GET store DESC", &[1, 3]);
    check("SORT k STORE", &[1]);
    check("SORT_RO k STORE to", &[1]);
}

#[test]
fn uses_are_remembered() {
    let mut twin = Twin::new();
    twin.check("SET k v\nRPUSH l a\nSET other v");
    for (uptime, line) in [
        (10, "GET k"),
        (20, "TOUCH k"),
        (30, "APPEND k x"),
        (40, "SET k v"),
        (50, "EXPIRE k 1000"),
        (60, "SETBIT k 1 0"),
    ] {
        twin.context.uptime = uptime;
        twin.check(&format!(
            "OBJECT IDLETIME k => 10\nEXISTS k other => 2\nTYPE k => string\nOBJECT IDLETIME k => 10\n{line}"
        ));
        twin.check(&format!("OBJECT IDLETIME k => 0\nOBJECT IDLETIME other => {uptime}"));
    }
    twin.check("RPUSH l b\nOBJECT IDLETIME l => 0");
    twin.context.no_touch = true;
    twin.context.uptime = 70;
    twin.check("GET k\nOBJECT IDLETIME k => 10\nTOUCH k\nOBJECT IDLETIME k => 0");
}

#[test]
fn changes_are_counted() {
    let mut twin = Twin::new();
    let mut counts = Vec::new();
    for line in [
        "SETBIT a 0 0",
        "BITFIELD b set i5 0 0",
        "SETBIT a 0 0",
        "BITFIELD b set i5 0 0",
        "SETBIT a 0 1",
        "GET a",
        "DEL none",
        "FLUSHDB",
    ] {
        twin.check(line);
        counts.push(twin.state.changes());
    }
    assert_eq!(counts, [1, 2, 2, 2, 3, 3, 3, 4]);
}
