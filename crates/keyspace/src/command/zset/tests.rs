use crate::object::{Object, Set, SetLimits, ZSet};
use crate::twin::Twin;

fn twin(entries_max: &str) -> Twin {
    let mut twin = Twin::new();
    twin.state.settings.values.insert("zset-max-listpack-entries".into(), entries_max.into());
    twin
}

/// The same lines were answered alike by redis-server 7.0.15.
#[test]
fn commands_answer_as_redis_does() {
    for script in include_str!("answers.txt").split("NEW\n") {
        twin("128").check(script);
        // The order of a scan is that of the form.
        let lines = script.lines().filter(|line| !line.starts_with("ZSCAN"));
        twin("0").check(&lines.collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn a_rank_may_come_with_its_score() {
    Twin::new().check(
        "ZADD z 1 a 2.5 b
        ZRANK z b WITHSCORE => [1, ,2.5]
        ZREVRANK z b WITHSCORE => [0, ,2.5]
        ZRANK z nope WITHSCORE => nil
        ZRANK nokey a WITHSCORE => nil
        ZRANK z a foo => (error) ERR syntax error
        ZRANK z a WITHSCORE x => (error) ERR wrong number of arguments for 'zrank' command",
    );
}

#[test]
fn a_negative_zero_that_ends_the_small_form_is_kept() {
    let lines = "ZADD z 0 a 0 b
        ZADD z -0 c
        OBJECT ENCODING z => \"skiplist\"
        ZSCORE z c => ,-0
        ZADD z 0 c => 0
        ZSCORE z c => ,-0
        ZRANGE z 0 -1 => [\"a\", \"b\", \"c\"]";
    twin("2").check(lines);
    twin("128").check("ZADD z -0 c\n ZSCORE z c => ,0");
}

#[test]
fn other_types_are_refused() {
    let mut twin = Twin::new();
    put(&mut twin, "str", crate::object::Value::String(crate::object::Str::Int(1)));
    twin.check("ZADD z 1 a");
    for line in [
        "ZADD str 1 a",
        "ZCARD str",
        "ZSCORE str a",
        "ZRANGE str 0 -1",
        "ZUNION 2 z str",
        "ZRANGESTORE d str 0 -1",
        "ZPOPMIN str",
        "ZPOPMIN str 0",
        "BZPOPMIN str 1",
        "BZPOPMIN nokey str 1",
        "ZDIFFSTORE d 1 str",
        "ZREM str a",
        "ZRANDMEMBER str",
        "ZSCAN str 0",
        "ZINCRBY str 1 a",
    ] {
        assert!(twin.line(line).starts_with("(error) WRONGTYPE "), "{line}");
    }
    assert_eq!(twin.line("ZADD str x a"), "(error) ERR value is not a valid float");
}

#[test]
fn the_form_follows_the_limits() {
    let mut twin = Twin::new();
    let long = "m".repeat(65);
    twin.line(&format!("ZADD long 1 {long}"));
    for n in 0..129 {
        twin.line(&format!("ZADD many {n} {n}"));
    }
    twin.line("ZADD few 1 a");
    twin.line("ZPOPMIN many 100");
    twin.line("ZUNIONSTORE stored 1 many");
    let encoding = |key: &str| {
        let db = twin.state.db(twin.context.db);
        db.and_then(|db| db.entry(key.as_bytes())?.value.as_ref()).and_then(ZSet::of).map(|set| set.encoding())
    };
    assert_eq!(encoding("long"), Some("skiplist"));
    assert_eq!(encoding("many"), Some("skiplist"));
    assert_eq!(encoding("few"), Some("listpack"));
    assert_eq!(encoding("stored"), Some("listpack"));
}

#[test]
fn a_wait_ends_with_a_member() {
    let mut twin = Twin::new();
    twin.check(
        "BZPOPMIN a b 0 => (waits)
        BZMPOP 0.5 2 a b MAX => (waits)
        ZADD b 1 x 2 y
        BZPOPMIN a b 0 => [\"b\", \"x\", ,1]
        BZMPOP 0.5 2 a b MAX COUNT 5 => [\"b\", [[\"y\", ,2]]]",
    );
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
    check("ZADD z 1 a 2 b 3 c 4 d", "zadd z");
    check("ZADD z 1 a", "");
    check("ZADD z INCR 0 a", "");
    check("ZINCRBY z 1 a", "zincr z");
    check("ZREM z nope", "");
    check("ZREM z a", "zrem z");
    check("ZPOPMAX z", "zpopmax z");
    check("ZRANGESTORE d z 0 0", "zrangestore d");
    check("ZRANGESTORE d z 9 9", "del d");
    check("ZINTERSTORE d 1 z", "zinterstore d");
    check("ZREMRANGEBYRANK z 0 -1", "zremrangebyrank z, del z");
}

#[test]
fn random_members_are_members() {
    let mut twin = Twin::new();
    for n in 0..300 {
        twin.line(&format!("ZADD z {n} m{n}"));
    }
    for seed in 0..50 {
        twin.context.random = seed;
        let ten = twin.line("ZRANDMEMBER z 10");
        let distinct: std::collections::BTreeSet<&str> = ten.trim_matches(['[', ']']).split(", ").collect();
        assert_eq!(distinct.len(), 10, "{ten}");
        assert_eq!(twin.line("ZRANDMEMBER z -500").matches("\"m").count(), 500);
        assert!(twin.line("ZRANDMEMBER z").starts_with("\"m"));
    }
    assert_eq!(twin.line("ZRANDMEMBER z 1000").matches("\"m").count(), 300);
}

fn put(twin: &mut Twin, key: &str, value: crate::object::Value) {
    let (context, position) = (twin.context.clone(), crate::Position { index: 900, n: 0 });
    let mut writer = crate::Writer::new(&mut twin.state, context, &mut twin.effects, position, 1);
    assert!(writer.put(key.as_bytes(), value, None).is_ok());
}

/// Members of sets count 1. Answers of redis-server 7.0.15.
#[test]
fn sets_are_combined_too() {
    let mut twin = Twin::new();
    let limits = SetLimits::of(&twin.state);
    for (key, members) in [("s", &["a", "b", "c", "1", "2"][..]), ("ints", &["1", "2", "3"])] {
        let mut set = Set::default();
        for member in members {
            set.insert(member.as_bytes(), limits);
        }
        put(&mut twin, key, set.into_value());
    }
    twin.check(
        "ZADD z 5 a 6 d 7 1
        ZUNION 2 s z WITHSCORES => <\"2\": ,1, \"b\": ,1, \"c\": ,1, \"a\": ,6, \"d\": ,6, \"1\": ,8>
        ZUNION 3 ints s z WEIGHTS 2 3 4 WITHSCORES => <\"3\": ,2, \"b\": ,3, \"c\": ,3, \"2\": ,5, \"a\": ,23, \"d\": ,24, \"1\": ,33>
        ZINTER 2 s z WITHSCORES => <\"a\": ,6, \"1\": ,8>
        ZINTER 3 s z ints WITHSCORES => <\"1\": ,9>
        ZINTERCARD 2 s z => 2
        ZDIFF 2 s z WITHSCORES => <\"2\": ,1, \"b\": ,1, \"c\": ,1>
        ZDIFF 2 z ints WITHSCORES => <\"a\": ,5, \"d\": ,6>
        ZADD few 3 a
        ZADD inf inf a 1 x 2 y
        ZINTER 2 few inf WEIGHTS 0.5 0 WITHSCORES => <\"a\": ,0>
        ZUNION 2 few inf WEIGHTS 0.5 0 WITHSCORES => <\"x\": ,0, \"y\": ,0, \"a\": ,1.5>
        ZUNIONSTORE out 2 s ints => 6
        ZRANGE out 0 -1 WITHSCORES => <\"3\": ,1, \"a\": ,1, \"b\": ,1, \"c\": ,1, \"1\": ,2, \"2\": ,2>
        ZRANGE s 0 -1 => (error) WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

/// However often a sorted set is named, where it cannot change the result it is looked at once.
#[test]
fn sorted_sets_that_are_named_often_count_once() {
    let mut twin = Twin::new();
    for from in (0..10_000).step_by(1_000) {
        let members: Vec<String> = (from..from + 1_000).map(|n| format!("{n} m{n}")).collect();
        twin.line(&format!("ZADD large {}", members.join(" ")));
    }
    let large = "large ".repeat(100_000);
    assert_eq!(twin.line(&format!("ZUNIONSTORE u 100000 {large}AGGREGATE MAX")), "10000");
    assert_eq!(twin.line(&format!("ZINTERSTORE i 100000 {large}AGGREGATE MIN")), "10000");
    assert_eq!(twin.line(&format!("ZINTERCARD 100000 {large}")), "10000");
    assert_eq!(twin.line(&format!("ZDIFFSTORE d 100000 {large}")), "0");
    twin.check("ZSCORE u m7 => ,7\nZSCORE i m7 => ,7");
    for n in 0..2_000 {
        twin.line(&format!("ZADD small{n} 1 m{} 1 x{n}", n * 2));
    }
    let small: Vec<String> = (0..2_000).map(|n| format!("small{n}")).collect();
    assert_eq!(twin.line(&format!("ZDIFFSTORE d 2001 large {}", small.join(" "))), "8000");
    twin.check(
        "ZSCORE d m3998 => nil
        ZSCORE d m3999 => ,3999
        ZADD few 1 a 2 b
        ZUNION 3 few few few WITHSCORES => <\"a\": ,3, \"b\": ,6>
        ZINTER 2 few few WEIGHTS 1 2 AGGREGATE MAX WITHSCORES => <\"a\": ,2, \"b\": ,4>
        ZUNION 3 few few few AGGREGATE MAX WITHSCORES => <\"a\": ,1, \"b\": ,2>",
    );
}
