use crate::twin::Twin;

#[test]
fn replies_are_those_of_redis() {
    Twin::new().check(
        r##"
        SET a 1 => OK
        GET a => "1"
        SET a 2 NX => nil
        SET a 2 NX GET => "1"
        SET a 3 XX GET => "1"
        SET b 3 XX GET => nil
        SET b 3 XX => nil
        SET a 1 EX => (error) ERR syntax error
        SET a 1 EX 0 => (error) ERR invalid expire time in 'set' command
        SET a 1 EX -1 => (error) ERR invalid expire time in 'set' command
        SET a 1 EX abc => (error) ERR value is not an integer or out of range
        SET a 1 EX 10 PX 10 => (error) ERR syntax error
        SET a 1 EX 10 EX 20 => OK
        TTL a => 20
        SET a 1 EX 10 KEEPTTL => (error) ERR syntax error
        SET a 1 KEEPTTL => OK
        TTL a => 20
        SET a 1 NX XX => (error) ERR syntax error
        SET a 1 NX NX => nil
        SET a 1 EX 9223372036854775807 => (error) ERR invalid expire time in 'set' command
        SET a 1 PX 9223372036854775807 => (error) ERR invalid expire time in 'set' command
        SET a 1 EXAT 9223372036854775 => OK
        SET a 1 EXAT 9223372036854776 => (error) ERR invalid expire time in 'set' command
        SET a 1 PXAT 0 => (error) ERR invalid expire time in 'set' command
        SET a 1 PXAT 1 => OK
        GET a => nil
        SET a 1 FOO => (error) ERR syntax error
        SET a => (error) ERR wrong number of arguments for 'set' command
        SET a 1 PERSIST => (error) ERR syntax error
        GETEX a => nil
        SET a hello => OK
        GETEX a EX 10 => "hello"
        TTL a => 10
        GETEX a PERSIST => "hello"
        TTL a => -1
        GETEX a PERSIST EX 10 => (error) ERR syntax error
        GETEX a KEEPTTL => (error) ERR syntax error
        GETEX a EX => (error) ERR syntax error
        GETEX a EX 0 => (error) ERR invalid expire time in 'getex' command
        GETEX a PXAT 1 => "hello"
        GET a => nil
        GETEX nokey EX abc => nil
        SETEX x 0 v => (error) ERR invalid expire time in 'setex' command
        SETEX x -10 v => (error) ERR invalid expire time in 'setex' command
        SETEX x abc v => (error) ERR value is not an integer or out of range
        SETEX x 10 v => OK
        PSETEX x 0 v => (error) ERR invalid expire time in 'psetex' command
        PSETEX x 9223372036854775807 v => (error) ERR invalid expire time in 'psetex' command
        TTL x => 10
        SETNX x 1 => 0
        SETNX y 1 => 1
        GETSET y 2 => "1"
        GETSET z 2 => nil
        GETSET x foo => "v"
        TTL x => -1
        GETDEL x => "foo"
        GETDEL x => nil
        MSET a 1 b => (error) ERR wrong number of arguments for 'mset' command
        MSET a 1 b 2 a 3 => OK
        MGET a b c => ["3", "2", nil]
        MSETNX c 1 a 1 => 0
        MSETNX c 1 d 1 => 1
        MSETNX c 1 d => (error) ERR wrong number of arguments for 'msetnx' command
        MGET a b c d => ["3", "2", "1", "1"]
        APPEND a 4 => 2
        OBJECT ENCODING a => "raw"
        APPEND nn 4 => 1
        OBJECT ENCODING nn => "int"
        APPEND nn 5 => 2
        OBJECT ENCODING nn => "raw"
        INCR nn => 46
        OBJECT ENCODING nn => "int"
        STRLEN nn => 2
        STRLEN nokey => 0
        SETRANGE nn -1 a => (error) ERR offset is out of range
        SETRANGE nn 536870912 a => (error) ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE nn 9223372036854775807 aa => (error) ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE nn 4 "" => 2
        SETRANGE nokey 4 "" => 0
        EXISTS nokey => 0
        SETRANGE nn 4 ab => 6
        GET nn => "46\x00\x00ab"
        SETRANGE nn 1 zz => 6
        GET nn => "4zz\x00ab"
        SETRANGE new 3 x => 4
        GET new => "\x00\x00\x00x"
        OBJECT ENCODING new => "raw"
        GETRANGE nn 0 -1 => "4zz\x00ab"
        GETRANGE nn -3 -1 => "\x00ab"
        GETRANGE nn -1 -3 => ""
        GETRANGE nn -100 100 => "4zz\x00ab"
        GETRANGE nn 5 100 => "b"
        GETRANGE nn 6 100 => ""
        GETRANGE nn -100 -100 => "4"
        GETRANGE nn -100 -99 => "4"
        GETRANGE nn 2 1 => ""
        GETRANGE nn a 1 => (error) ERR value is not an integer or out of range
        GETRANGE nokey 0 -1 => ""
        SUBSTR nn 0 2 => "4zz"
        SET n 10 => OK
        INCR n => 11
        DECR n => 10
        INCRBY n 5 => 15
        DECRBY n 7 => 8
        INCRBY n a => (error) ERR value is not an integer or out of range
        INCRBY n 9223372036854775807 => (error) ERR increment or decrement would overflow
        DECRBY n -9223372036854775808 => (error) ERR decrement would overflow
        INCRBY n -9223372036854775808 => -9223372036854775800
        SET n -1 => OK
        DECRBY n 9223372036854775807 => -9223372036854775808
        DECR n => (error) ERR increment or decrement would overflow
        GET n => "-9223372036854775808"
        SET n " 11" => OK
        INCR n => (error) ERR value is not an integer or out of range
        SET n 011 => OK
        INCR n => (error) ERR value is not an integer or out of range
        SET n "" => OK
        INCR n => (error) ERR value is not an integer or out of range
        INCRBYFLOAT n 1 => (error) ERR value is not a valid float
        SET f 3 => OK
        INCRBYFLOAT f 1.1 => "4.1"
        OBJECT ENCODING f => "embstr"
        INCRBYFLOAT f -1.1 => "3"
        OBJECT ENCODING f => "embstr"
        INCR f => 4
        INCRBYFLOAT f abc => (error) ERR value is not a valid float
        INCRBYFLOAT f 1e400 => "10000000000000000000281880683947586514586453433629052038625910693539685534008629862039363994848324160522094053927317616200295822777259255734023828976593340661017797447434546173917862448116674971723778943824391593338047470675026246684401359237513603830343735485505244955964979021825038280091068414947402456898653040951017512658092615827588920183472511643316591362664138176309734806343732497430221946880"
        INCRBYFLOAT f 1e5000 => (error) ERR value is not a valid float
        INCRBYFLOAT f inf => (error) ERR increment would produce NaN or Infinity
        INCRBYFLOAT f nan => (error) ERR value is not a valid float
        INCRBYFLOAT f 5.0e3 => "10000000000000000000281880683947586514586453433629052038625910693539685534008629862039363994848324160522094053927317616200295822777259255734023828976593340661017797447434546173917862448116674971723778943824391593338047470675026246684401359237513603830343735485505244955964979021825038280091068414947402456898653040951017512658092615827588920183472511643316591362664138176309734806343732497430221946880"
        INCRBYFLOAT f 2.0e2 => "10000000000000000000281880683947586514586453433629052038625910693539685534008629862039363994848324160522094053927317616200295822777259255734023828976593340661017797447434546173917862448116674971723778943824391593338047470675026246684401359237513603830343735485505244955964979021825038280091068414947402456898653040951017512658092615827588920183472511643316591362664138176309734806343732497430221946880"
        INCRBYFLOAT f " 1" => (error) ERR value is not a valid float
        INCRBYFLOAT g 0.1 => "0.1"
        INCRBYFLOAT g 0.2 => "0.3"
        INCRBYFLOAT g 0.7 => "1"
        INCRBYFLOAT g 1.23456789012345678901 => "2.23456789012345679"
        INCRBYFLOAT g 1e15 => "1000000000000002.23455810546875"
        INCRBYFLOAT g 1e-10 => "1000000000000002.23455810546875"
        INCRBYFLOAT g 1e-17 => "1000000000000002.23455810546875"
        INCRBYFLOAT g 1e-18 => "1000000000000002.23455810546875"
        INCRBYFLOAT g 1e20 => "100001000000000000000"
        INCRBYFLOAT g 1e30 => "1000000000100001000041744433152"
        INCRBYFLOAT g -1e30 => "100001000017048371200"
        INCRBYFLOAT g 0x10 => "100001000017048371216"
        INCRBYFLOAT g 3.3333333333333333333333333 => "100001000017048371216"
        INCRBYFLOAT h -0 => "0"
        INCRBYFLOAT h -0.000000000000000000001 => "0"
        INCRBYFLOAT h 1.5e-5 => "0.000015"
        INCRBYFLOAT h -1.7e-7 => "0.00001483"
        INCRBYFLOAT h 123456789.987654321 => "123456789.98766915099986363"
        INCRBYFLOAT h .5 => "123456790.48766915099986363"
        INCRBYFLOAT h 5. => "123456795.48766915099986363"
        INCRBYFLOAT h +5 => "123456800.48766915099986363"
        SET fo foobar => OK
        INCRBYFLOAT fo 1 => (error) ERR value is not a valid float
        SET big 9223372036854775807 => OK
        INCRBYFLOAT big 1 => "9223372036854775808"
        OBJECT ENCODING big => "embstr"
        SET big 12345678901234567890 => OK
        OBJECT ENCODING big => "embstr"
        SET big 123456789012345678901234567890123456789012345 => OK
        OBJECT ENCODING big => "raw"
        SET big 12345678901234567890123456789012345678901234 => OK
        OBJECT ENCODING big => "embstr"
        MSET k1 ohmytext k2 mynewtext => OK
        LCS k1 k2 => "mytext"
        LCS k1 k2 LEN => 6
        LCS k1 k2 IDX => {"matches": [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], "len": 6}
        LCS k1 k2 IDX WITHMATCHLEN => {"matches": [[[4, 7], [5, 8], 4], [[2, 3], [0, 1], 2]], "len": 6}
        LCS k1 k2 IDX MINMATCHLEN 4 WITHMATCHLEN => {"matches": [[[4, 7], [5, 8], 4]], "len": 6}
        LCS k1 k2 IDX MINMATCHLEN -4 => {"matches": [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], "len": 6}
        LCS k1 k2 IDX LEN => (error) ERR If you want both the length and indexes, please just use IDX.
        LCS k1 k2 FOO => (error) ERR syntax error
        LCS k1 k2 MINMATCHLEN => (error) ERR syntax error
        LCS k1 nokey IDX => {"matches": [], "len": 0}
        LCS k1 nokey => ""
        SET r1 CACCTAAGGTACCTTTGGTTC => OK
        SET r2 ACCTAGTACTTTG => OK
        LCS r1 r2 IDX WITHMATCHLEN => {"matches": [[[17, 17], [12, 12], 1], [[12, 15], [8, 11], 4], [[8, 10], [5, 7], 3], [[6, 6], [4, 4], 1], [[1, 4], [0, 3], 4]], "len": 13}
        LCS r1 r2 => "ACCTAGTACTTTG"
        LCS r2 r1 IDX => {"matches": [[[12, 12], [17, 17]], [[8, 11], [12, 15]], [[5, 7], [8, 10]], [[4, 4], [6, 6]], [[0, 3], [1, 4]]], "len": 13}
        GET => (error) ERR wrong number of arguments for 'get' command
        GET a b => (error) ERR wrong number of arguments for 'get' command
        MGET => (error) ERR wrong number of arguments for 'mget' command
        INCR => (error) ERR wrong number of arguments for 'incr' command
        PSETEX a 1 => (error) ERR wrong number of arguments for 'psetex' command
    "##,
    );
}

#[test]
fn other_types_are_refused() {
    Twin::new().check(
        r#"
        ZADD z 1 a
        GET z => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        INCR z => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        APPEND z x => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        SETRANGE z 0 x => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        GETRANGE z 0 1 => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        STRLEN z => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        MGET z a => [nil, nil]
        SET z x GET => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        SET z x IFEQ a => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        GETSET z x => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        GETDEL z => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        GETEX z => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        INCRBYFLOAT z 1 => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        LCS z a => (error) ERR The specified keys must contain string values
        SETNX z x => 0
        SET z x => OK
        GET z => "x"
        "#,
    );
}

#[test]
fn set_compares() {
    Twin::new().check(
        r#"
        SET k v IFEQ v => nil
        SET k v IFNE v => OK
        SET k w IFNE v => nil
        SET k w IFEQ x GET => "v"
        SET k w IFEQ v => OK
        SET k 1 IFEQ w GET => "w"
        SET k 2 IFEQ 1 EX 100 => OK
        TTL k => 100
        SET k 3 IFEQ 2 NX => (error) ERR syntax error
        SET k 3 IFEQ => (error) ERR syntax error
        GET k => "2"
        "#,
    );
}

#[test]
fn a_string_in_a_reply_does_not_change_with_its_key() {
    let mut twin = Twin::new();
    twin.check("APPEND k abc\nAPPEND k def");
    let before = twin.run(&["GET", "k"]);
    twin.check("SETRANGE k 0 xyz => 6");
    assert_eq!(format!("{before:?}"), format!("{:?}", crate::Ran::Reply(crate::Reply::bulk("abcdef"))));
}
