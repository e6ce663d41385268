use crate::twin::Twin;

fn twin(size: &str) -> Twin {
    let mut twin = Twin::new();
    twin.state.settings.values.insert("list-max-listpack-size".into(), size.into());
    twin
}

/// The same lines were answered alike by redis-server 7.0.15.
#[test]
fn commands_answer_as_redis_does() {
    for script in include_str!("answers.txt").split("NEW\n") {
        twin("-2").check(script);
        twin("2").check(script);
    }
}

#[test]
fn a_wait_ends_with_an_element() {
    let mut twin = Twin::new();
    twin.check(
        "BLPOP a b 0 => (waits)
        BLMPOP 0.5 2 a b LEFT => (waits)
        BLMOVE a b LEFT LEFT 0 => (waits)
        BRPOPLPUSH a b 0 => (waits)
        RPUSH b x y z
        BLPOP a b 0 => [\"b\", \"x\"]
        BLMPOP 0.5 2 a b LEFT COUNT 5 => [\"b\", [\"y\", \"z\"]]",
    );
    twin.context.must_not_wait = true;
    twin.check(
        "BLPOP a 0 => nil
        BLMOVE a b LEFT LEFT 0 => nil",
    );
}

#[test]
fn the_form_follows_the_limits() {
    let mut twin = Twin::new();
    let words = |count: usize, bytes: usize| vec!["x".repeat(bytes); count].join(" ");
    let mut encoding = |line: &str, want: &str| {
        twin.line(line);
        assert_eq!(twin.line("OBJECT ENCODING l"), format!("\"{want}\""), "{}", line.get(..40).unwrap_or(line));
    };
    encoding("RPUSH l a 1 b", "listpack");
    encoding(&format!("RPUSH l {}", words(79, 100)), "listpack");
    encoding(&format!("RPUSH l {}", words(3, 100)), "quicklist");
    encoding("LTRIM l 0 60", "quicklist");
    encoding("LTRIM l 0 30", "listpack");
    encoding(&format!("LSET l 0 {}", words(1, 9000)), "quicklist");
    encoding("LSET l 0 a", "quicklist");
    encoding("LPOP l 2", "listpack");
    let mut twin = self::twin("3");
    let mut encoding = |line: &str, want: &str| {
        twin.line(line);
        assert_eq!(twin.line("OBJECT ENCODING l"), format!("\"{want}\""), "{line}");
    };
    encoding("RPUSH l a b c", "listpack");
    encoding("RPUSH l d", "quicklist");
    encoding("RPOP l", "quicklist");
    encoding("RPOP l 2", "listpack");
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
    check("RPUSH l a b c d e f g", "rpush l");
    check("LPUSHX nokey a", "");
    check("LPUSHX l a", "lpush l");
    check("LSET l 0 x", "lset l");
    check("LINSERT l BEFORE x y", "linsert l");
    check("LINSERT l BEFORE nope y", "");
    check("LREM l 0 nope", "");
    check("LREM l 0 x", "lrem l");
    check("LTRIM l 0 -1", "ltrim l");
    check("LTRIM nokey 0 -1", "");
    check("LPOP l 0", "");
    check("LPOP l 2", "lpop l");
    check("RPOP l", "rpop l");
    check("LMOVE l m LEFT RIGHT", "rpush m, lpop l");
    check("BRPOPLPUSH l m 0", "lpush m, rpop l");
    check("LMOVE m m LEFT RIGHT", "rpush m, lpop m");
    check("BLPOP l 0", "lpop l");
    check("LMPOP 2 nokey l RIGHT COUNT 9", "rpop l, del l");
    check("LTRIM m 9 10", "ltrim m, del m");
}

#[test]
fn a_long_list_is_quick_at_both_ends_and_in_the_middle() {
    let mut twin = Twin::new();
    for n in 0..20_000 {
        twin.line(&format!("RPUSH l {n}"));
    }
    twin.check(
        "LLEN l => 20000
        LINDEX l 12345 => \"12345\"
        LRANGE l 15000 15002 => [\"15000\", \"15001\", \"15002\"]
        LSET l 9999 x => OK
        LPOS l x => 9999
        LINSERT l BEFORE x y => 20001
        LINDEX l 9999 => \"y\"
        LREM l -1 y => 1
        LINDEX l 9999 => \"x\"
        LTRIM l 9998 10000 => OK
        LRANGE l 0 -1 => [\"9998\", \"x\", \"10000\"]
        OBJECT ENCODING l => \"listpack\"",
    );
}
