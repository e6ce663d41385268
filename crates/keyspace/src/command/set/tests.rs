use crate::twin::Twin;

fn twin(entries_max: &str) -> Twin {
    let mut twin = Twin::new();
    for name in ["set-max-intset-entries", "set-max-listpack-entries"] {
        twin.state.settings.values.insert(name.into(), entries_max.into());
    }
    twin
}

/// The same lines were answered alike by redis-server 7.0.15.
#[test]
fn commands_answer_as_redis_does() {
    for script in include_str!("answers.txt").split("NEW\n") {
        twin("512").check(script);
        // The order of members is that of the form.
        let lines = script.lines().map(|line| line.split_once(" => ~[").map_or(line, |(command, _)| command));
        twin("0").check(&lines.collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn members_go_by_chance_and_once() {
    for (prefix, entries) in [("", "512"), ("m", "512"), ("m", "0")] {
        let mut twin = twin(entries);
        for n in 0..300 {
            twin.line(&format!("SADD s {prefix}{n}"));
        }
        let ten = twin.line("SRANDMEMBER s 10");
        let distinct: std::collections::BTreeSet<&str> = ten.trim_matches(['[', ']']).split(", ").collect();
        assert_eq!(distinct.len(), 10, "{ten}");
        assert_eq!(twin.line("SRANDMEMBER s -500").split(", ").count(), 500);
        assert_eq!(twin.line("SRANDMEMBER s 1000").split(", ").count(), 300);
        let taken = twin.line("SPOP s 100");
        let taken: std::collections::BTreeSet<&str> = taken.trim_matches(['~', '[', ']']).split(", ").collect();
        assert_eq!(taken.len(), 100);
        for member in taken {
            assert_eq!(twin.line(&format!("SISMEMBER s {member}")), "0");
        }
        twin.check("SCARD s => 200");
        while twin.line("SPOP s") != "nil" {}
        twin.check("EXISTS s => 0");
    }
    assert_eq!(Twin::new().line("SRANDMEMBER nokey -9223372036854775807"), "[]");
    let mut twin = twin("0");
    twin.check("SADD s a\nSRANDMEMBER s -9223372036854775807 => (error) ERR value is out of range");
}

#[test]
fn the_form_follows_the_limits() {
    let mut twin = Twin::new();
    let many: Vec<String> = (0..130).map(|n| n.to_string()).collect();
    twin.line(&format!("SADD ints {}", many.join(" ")));
    twin.line(&format!("SADD words m{}", many.join(" m")));
    twin.line(&format!("SADD long {}", "m".repeat(65)));
    twin.check(
        "OBJECT ENCODING ints => \"intset\"
        OBJECT ENCODING words => \"hashtable\"
        OBJECT ENCODING long => \"hashtable\"
        SADD few 1 2 3
        SADD few a
        OBJECT ENCODING few => \"listpack\"
        SADD ints a
        OBJECT ENCODING ints => \"hashtable\"
        SUNIONSTORE d few
        OBJECT ENCODING d => \"listpack\"
        SADD n1 1 2 3
        SINTERSTORE d ints n1
        OBJECT ENCODING d => \"intset\"
        SINTERSTORE d few n1
        OBJECT ENCODING d => \"intset\"
        SADD few b c
        SINTERSTORE d few ints
        OBJECT ENCODING d => \"listpack\"
        SMOVE few moved a
        OBJECT ENCODING moved => \"listpack\"
        SMOVE few moved2 1
        OBJECT ENCODING moved2 => \"intset\"",
    );
}

#[test]
fn a_walk_over_many_gives_all() {
    let mut twin = twin("0");
    for n in 0..100 {
        twin.line(&format!("SADD s m{n}"));
    }
    let (mut cursor, mut seen) = ("0".to_owned(), std::collections::BTreeSet::new());
    loop {
        let reply = twin.line(&format!("SSCAN s {cursor} COUNT 7 MATCH m*"));
        let mut words = reply.split('"').filter(|word| word.starts_with('m') || word.parse::<u64>().is_ok());
        cursor = words.next().unwrap_or("0").to_owned();
        seen.extend(words.map(str::to_owned));
        if cursor == "0" {
            break;
        }
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
    check("SADD s 1 2 3 a", "sadd s");
    check("SADD s 1", "");
    check("SREM s nope", "");
    check("SREM s 1", "srem s");
    check("SMOVE s t 2", "srem s, sadd t");
    check("SMOVE s t nope", "");
    check("SADD s 2", "sadd s");
    check("SMOVE s t 2", "srem s");
    check("SMOVE s s a", "");
    check("SUNIONSTORE d s t", "sunionstore d");
    check("SINTERSTORE d s t", "del d");
    check("SINTERSTORE d s t", "");
    check("SDIFFSTORE d s t", "sdiffstore d");
    check("SPOP d", "spop d");
    check("SPOP d 100", "spop d, del d");
    check("SREM t 2", "srem t, del t");
}

/// However often a set is named, and however many small ones there are, the work is that of what is in them.
#[test]
fn sets_that_are_named_often_count_once() {
    let mut twin = Twin::new();
    twin.state.settings.values.insert("set-max-intset-entries".into(), "0".into());
    for from in (0..20_000).step_by(1_000) {
        let members: Vec<String> = (from..from + 1_000).map(|n| n.to_string()).collect();
        twin.line(&format!("SADD large {}", members.join(" ")));
    }
    let large = "large ".repeat(100_000);
    assert_eq!(twin.line(&format!("SUNIONSTORE u {large}")), "20000");
    assert_eq!(twin.line(&format!("SINTERSTORE i {large}")), "20000");
    assert_eq!(twin.line(&format!("SINTERCARD 100000 {large}")), "20000");
    assert_eq!(twin.line(&format!("SDIFFSTORE d {large}")), "0");
    assert_eq!(twin.line(&format!("SINTERSTORE i {large}nokey")), "0");
    for n in 0..3_000 {
        twin.line(&format!("SADD small{n} {} {}", n * 2, n * 2 + 1_000_000));
    }
    let small: Vec<String> = (0..3_000).map(|n| format!("small{n}")).collect();
    assert_eq!(twin.line(&format!("SDIFFSTORE d large {}", small.join(" "))), "17000");
    twin.check("SISMEMBER d 5998 => 0\nSISMEMBER d 5999 => 1\nSISMEMBER d 1 => 1");
}
