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
