use crate::twin::Twin;

fn twin(entries_max: &str) -> Twin {
    let mut twin = Twin::new();
    twin.state.settings.values.insert("hash-max-listpack-entries".into(), entries_max.into());
    twin
}

/// The same lines were answered alike by redis-server 7.0.15.
#[test]
fn commands_answer_as_redis_does() {
    for script in include_str!("answers.txt").split("NEW\n") {
        twin("512").check(script);
        let lines = script.lines().map(|line| line.split_once(" => {").map_or(line, |(command, _)| command));
        twin("0").check(&lines.collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn fields_by_chance() {
    for entries in ["512", "0"] {
        let mut twin = twin(entries);
        for n in 0..200 {
            twin.line(&format!("HSET h f{n} v{n}"));
        }
        twin.check("HPEXPIRE h 5 FIELDS 3 f0 f1 f199 => [1, 1, 1]");
        twin.context.now += 5;
        for seed in 0..30 {
            twin.context.random = seed;
            let ten = twin.line("HRANDFIELD h 10");
            let distinct: std::collections::BTreeSet<&str> = ten.trim_matches(['[', ']']).split(", ").collect();
            assert_eq!(distinct.len(), 10, "{ten}");
            assert!(twin.line("HRANDFIELD h").starts_with("\"f"));
            let pair = twin.line("HRANDFIELD h -1 WITHVALUES");
            assert!(pair.starts_with("<\"f") && pair.contains("\": \"v"), "{pair}");
        }
        assert_eq!(twin.line("HRANDFIELD h -500").split(", ").count(), 500);
        let all = twin.line("HRANDFIELD h 1000");
        assert_eq!(all.split(", ").count(), 197);
        assert!(!all.contains("\"f199\"") && !all.contains("\"f0\""));
    }
}

#[test]
fn fields_end() {
    for entries in ["512", "0"] {
        let mut twin = twin(entries);
        twin.check(
            "HSET h a 1 b 2 c 3
            HEXPIRE h 100 FIELDS 2 a nope => [1, -2]
            HEXPIRE nokey 100 FIELDS 2 a b => [-2, -2]
            HTTL h FIELDS 3 a b nope => [100, -1, -2]
            HPTTL h FIELDS 2 a b => [100000, -1]
            HEXPIRETIME h FIELDS 2 a b => [1704067300, -1]
            HPEXPIRETIME h FIELDS 2 a b => [1704067300000, -1]
            HTTL nokey FIELDS 2 a b => [-2, -2]
            HEXPIRE h 50 NX FIELDS 2 a b => [0, 1]
            HEXPIRE h 60 XX FIELDS 2 b c => [1, 0]
            HEXPIRE h 60 GT FIELDS 3 a b c => [0, 0, 0]
            HEXPIRE h 70 GT FIELDS 2 b c => [1, 0]
            HEXPIRE h 80 LT FIELDS 3 a b c => [1, 0, 1]
            HTTL h FIELDS 3 a b c => [80, 70, 80]
            HPERSIST h FIELDS 3 c c nope => [1, -1, -2]
            HPERSIST nokey FIELDS 1 a => [-2]
            HSET h a 9 => 0
            HTTL h FIELDS 1 a => [-1]
            HINCRBY h b 5 => 7
            HINCRBYFLOAT h b 0.5 => \"7.5\"
            HTTL h FIELDS 1 b => [70]
            HEXPIREAT h 1704067300 FIELDS 1 a => [1]
            HPEXPIREAT h 1704067200500 FIELDS 1 c => [1]
            HTTL h FIELDS 2 a c => [100, 1]
            HEXPIREAT h 1704067200 FIELDS 2 a a => [2, -2]
            HEXISTS h a => 0",
        );
        twin.context.now += 500;
        twin.check(
            "HGETALL h => {\"b\": \"7.5\"}
            HLEN h => 1
            HMGET h b c => [\"7.5\", nil]
            HKEYS h => [\"b\"]
            HVALS h => [\"7.5\"]
            HSTRLEN h c => 0
            HGET h c => nil
            HTTL h FIELDS 1 c => [-2]
            HSCAN h 0 => [\"0\", [\"b\", \"7.5\"]]
            HSCAN h 0 NOVALUES => [\"0\", [\"b\"]]
            HDEL h c => 0
            HSETNX h c 1 => 1
            HTTL h FIELDS 1 c => [-1]
            HEXPIRE h 0 FIELDS 2 b c => [2, 2]
            EXISTS h => 0",
        );
    }
}

#[test]
fn what_is_over_goes_at_the_next_write() {
    let mut twin = Twin::new();
    twin.check("HSET h a 1 b 2\nHPEXPIRE h 10 FIELDS 2 a b");
    twin.context.now += 10;
    let mut check = |line: &str, reply: &str, want: &str| {
        assert_eq!(twin.line(line), reply);
        let events = twin.effects.notifications.iter().filter(|event| event.event != "new");
        let events: Vec<&str> = events.map(|event| event.event).collect();
        assert_eq!(events.join(", "), want, "{line}");
    };
    check("HLEN h", "0", "");
    check("HSET h c 3", "1", "hexpired, del, hset");
    check("HGETALL h", "{\"c\": \"3\"}", "");
}

#[test]
fn ends_are_refused_as_redis_does() {
    let mut twin = Twin::new();
    twin.check(
        "HSET h f 1
        SET s v
        HEXPIRE s x FIELDS 1 f => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        HTTL s FIELDS 1 f => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        HGETDEL s FIELDS 1 f => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        HEXPIRE h x FIELDS 1 f => (error) ERR value is not an integer or out of range
        HEXPIRE h -1 FIELDS 1 f => (error) ERR invalid expire time, must be >= 0
        HEXPIRE h 70368744178 FIELDS 1 f => (error) ERR invalid expire time in 'hexpire' command
        HEXPIRE h 9223372036854775807 FIELDS 1 f => (error) ERR invalid expire time in 'hexpire' command
        HPEXPIREAT h 70368744177664 FIELDS 1 f => (error) ERR invalid expire time in 'hpexpireat' command
        HPEXPIREAT h 70368744177663 FIELDS 1 f => [1]
        HEXPIRE h 100 BAD FIELDS 1 f => (error) ERR Mandatory argument FIELDS is missing or not at the right position
        HTTL h BAD 1 f => (error) ERR Mandatory argument FIELDS is missing or not at the right position
        HEXPIRE h 100 FIELDS 0 f => (error) ERR Parameter `numFields` should be greater than 0
        HEXPIRE h 100 FIELDS x f => (error) ERR Parameter `numFields` should be greater than 0
        HTTL h FIELDS 0 f => (error) ERR Number of fields must be a positive integer
        HPERSIST h FIELDS x f => (error) ERR Number of fields must be a positive integer
        HEXPIRE h 100 FIELDS 2 f => (error) ERR The `numfields` parameter must match the number of arguments
        HEXPIRE h 100 NX FIELDS 1 => (error) ERR The `numfields` parameter must match the number of arguments
        HEXPIRE h 100 NX FIELDS 1 f g => (error) ERR The `numfields` parameter must match the number of arguments
        HTTL h FIELDS 1 f g => (error) ERR The `numfields` parameter must match the number of arguments
        HEXPIRE h 100 FIELDS 1 => (error) ERR wrong number of arguments for 'hexpire' command
        HTTL h FIELDS 1 => (error) ERR wrong number of arguments for 'httl' command",
    );
}

#[test]
fn values_with_their_ends() {
    let mut twin = Twin::new();
    twin.check(
        "HSETEX h FIELDS 2 a 1 b 2 => 1
        HTTL h FIELDS 2 a b => [-1, -1]
        HSETEX h EX 10 FIELDS 1 a 3 => 1
        HTTL h FIELDS 1 a => [10]
        HSETEX h KEEPTTL FIELDS 1 a 4 => 1
        HTTL h FIELDS 1 a => [10]
        HSETEX h FIELDS 1 a 5 => 1
        HTTL h FIELDS 1 a => [-1]
        HSETEX h FNX FIELDS 2 a 1 z 1 => 0
        HSETEX h FXX FIELDS 2 a 1 z 1 => 0
        HSETEX h FXX PX 500 FIELDS 2 a 1 b 1 => 1
        HSETEX new FXX FIELDS 1 a 1 => 0
        EXISTS new => 0
        HSETEX new FNX EXAT 1704067201 FIELDS 1 a 1 => 1
        HPTTL new FIELDS 1 a => [1000]
        HSETEX new PXAT 5 FIELDS 1 a 1 => 1
        EXISTS new => 0
        HSETEX h FNX FXX FIELDS 1 a 1 => (error) ERR Only one of FXX or FNX arguments can be specified
        HSETEX h EX 1 KEEPTTL FIELDS 1 a 1 => (error) ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
        HSETEX h EX -1 FIELDS 1 a 1 => (error) ERR invalid expire time, must be >= 0
        HSETEX h BAD FIELDS 1 a 1 => (error) ERR unknown argument: BAD
        HSETEX h FIELDS 0 a 1 => (error) ERR invalid number of fields
        HSETEX h FIELDS 2 a 1 => (error) ERR wrong number of arguments for 'hsetex' command
        HGETEX h FIELDS 2 a nope => [\"1\", nil]
        HPTTL h FIELDS 1 a => [500]
        HGETEX h PERSIST FIELDS 1 a => [\"1\"]
        HPTTL h FIELDS 1 a => [-1]
        HGETEX h EX 100 FIELDS 2 a nope => [\"1\", nil]
        HTTL h FIELDS 1 a => [100]
        HGETEX h EX 100 PERSIST FIELDS 1 a => (error) ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified
        HGETEX h BAD FIELDS 1 a => (error) ERR unknown argument: BAD
        HGETEX h FIELDS 2 a => (error) ERR wrong number of arguments for 'hgetex' command
        HGETEX nokey EX 1 FIELDS 1 a => [nil]
        HGETEX h PXAT 1 FIELDS 1 a => [\"1\"]
        HEXISTS h a => 0
        HGETDEL h FIELDS 3 b b nope => [\"1\", nil, nil]
        EXISTS h => 0
        HGETDEL h FIELDS 1 b => [nil]
        HGETDEL h BAD 1 b => (error) ERR Mandatory argument FIELDS is missing or not at the right position",
    );
}

#[test]
fn the_form_follows_the_limits() {
    let mut twin = twin("3");
    twin.check(&format!(
        "HSET h a 1 b 2 c 3
        OBJECT ENCODING h => \"listpack\"
        HEXPIRE h 10 FIELDS 1 a
        OBJECT ENCODING h => \"listpackex\"
        HSET h d 4
        OBJECT ENCODING h => \"hashtable\"
        HDEL h d
        OBJECT ENCODING h => \"hashtable\"
        HSET long a {0}
        OBJECT ENCODING long => \"hashtable\"
        HSET name {0} a
        OBJECT ENCODING name => \"hashtable\"
        HSETEX ex EX 5 FIELDS 1 a 1
        OBJECT ENCODING ex => \"listpackex\"",
        "x".repeat(65)
    ));
}

#[test]
fn a_walk_over_many_gives_all() {
    let mut twin = twin("0");
    for n in 0..100 {
        twin.line(&format!("HSET h f{n} v"));
    }
    let (mut cursor, mut seen) = ("0".to_owned(), std::collections::BTreeSet::new());
    loop {
        let reply = twin.line(&format!("HSCAN h {cursor} COUNT 7 MATCH f* NOVALUES"));
        let mut words = reply.split('"').filter(|word| word.starts_with('f') || word.parse::<u64>().is_ok());
        cursor = words.next().unwrap_or("0").to_owned();
        seen.extend(words.map(str::to_owned));
        if cursor == "0" {
            break;
        }
        // Others come and go.
        twin.line(&format!("HSET h new{} v", seen.len()));
        twin.line(&format!("HDEL h new{}", seen.len() / 2));
    }
    assert_eq!(seen.len(), 100);
}

#[test]
fn events_tell_what_happened_and_nothing_else() {
    let mut twin = Twin::new();
    let mut check = |line: &str, want: &str| {
        twin.line(line);
        let events = twin.effects.notifications.iter().filter(|event| event.event != "new");
        let events: Vec<String> =
            events.map(|event| format!("{} {}", event.event, String::from_utf8_lossy(&event.key))).collect();
        assert_eq!(events.join(", "), want, "{line}");
    };
    check("HSET h a 1 b 2 c 3 d 4", "hset h");
    check("HSETNX h a 1", "");
    check("HSETNX h e 5", "hset h");
    check("HDEL h nope", "");
    check("HDEL h e", "hdel h");
    check("HINCRBY h a 1", "hincrby h");
    check("HINCRBYFLOAT h a 1", "hincrbyfloat h");
    check("HEXPIRE h 10 FIELDS 1 nope", "");
    check("HEXPIRE h 10 FIELDS 1 a", "hexpire h");
    check("HEXPIRE h 10 NX FIELDS 1 a", "");
    check("HPERSIST h FIELDS 1 a", "hpersist h");
    check("HPERSIST h FIELDS 1 a", "");
    check("HGETEX h EX 10 FIELDS 1 a", "hexpire h");
    check("HGETEX h PERSIST FIELDS 1 b", "");
    check("HEXPIRE h 0 FIELDS 1 a", "hdel h");
    check("HSETEX h EX 10 FIELDS 1 b 2", "hset h, hexpire h");
    check("HGETDEL h FIELDS 2 b c", "hdel h");
    check("HDEL h d", "hdel h, del h");
}
