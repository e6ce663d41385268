//! Commands on two keyspaces: they must not differ, though the objects of one are written and read again between commands.

use rand::Rng;
use rand::rngs::SmallRng;

use super::{Rounds, WORDS, corpus, mutate, pick};
use crate::object::Value;
use crate::twin::{Twin, text};
use crate::{DbId, Ran, rdb};

/// Keys that commands are led to, so that they meet objects of other types.
const KEYS: &[&str] = &["k", "l", "s", "z", "h", "st", "ts", "a", "b", "c"];
/// A keyspace begins anew beyond this.
const MEMORY_BYTES_MAX: usize = 96 << 20;
/// Rounds between two looks at all objects.
const LOOK_EVERY: u64 = 64;
/// Replies beyond this many bytes are not compared.
const SHOWN_BYTES_MAX: usize = 1 << 20;

fn shown(args: &[Vec<u8>]) -> String {
    let words: Vec<String> =
        args.iter().map(|arg| format!("\"{}\"", arg[..arg.len().min(300)].escape_ascii())).collect();
    words.join(" ")
}

/// A line with some of its words changed.
fn command(random: &mut SmallRng, corpus: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    let mut args = pick(random, corpus).clone();
    if args.len() > 1 && random.random_bool(0.4) {
        args[1] = pick(random, KEYS).as_bytes().to_vec();
    }
    for _ in 0..random.random_range(0..3) {
        let at = random.random_range(0..=args.len());
        if at == 0 {
            continue;
        }
        let word = match random.random_range(0..4) {
            0 | 1 => pick(random, WORDS).as_bytes().to_vec(),
            2 => {
                let other = pick(random, corpus);
                pick(random, other).clone()
            }
            _ => pick(random, KEYS).as_bytes().to_vec(),
        };
        match random.random_range(0..8) {
            0..=2 if at < args.len() => args[at] = word,
            3 => args.insert(at, word),
            4 if at < args.len() => drop(args.remove(at)),
            5 if at < args.len() => mutate(random, &mut args[at]),
            6 if at < args.len() => {
                let part = args[at..args.len().min(at + 8)].to_vec();
                args.extend(part);
            }
            7 if at < args.len() => {
                let number = std::str::from_utf8(&args[at]).ok().and_then(|word| word.parse::<i64>().ok());
                if let Some(number) = number {
                    let factor = *pick(random, &[-1, 2, 10, 1_000, i64::MAX]);
                    args[at] = number.wrapping_mul(factor).to_string().into_bytes();
                }
            }
            _ => {}
        }
    }
    args
}

fn answer(twin: &mut Twin, args: &[Vec<u8>]) -> String {
    match twin.run(args) {
        Ran::Reply(reply) => text(&reply),
        Ran::Block(block) => format!("waits {}", block.timeout_ms),
    }
}

/// Whether the objects of both are the same bytes; those of the second are what was written of them.
fn look(one: &Twin, two: &mut Twin) -> Result<usize, String> {
    let mut count = 0;
    for id in one.state.db_ids() {
        let (Some(db), Some(other)) = (one.state.db(id), two.state.db_of_id(id)) else { continue };
        for entry in db.entries() {
            let Some(value) = &entry.value else { continue };
            let key = entry.key.escape_ascii();
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            let Some(found) = other.entry_mut(&entry.key) else { return Err(format!("{key} is only in one")) };
            let again = Value::decode(&bytes).ok_or_else(|| format!("{key} is not read: {}", bytes.escape_ascii()))?;
            let (mut of_again, mut of_other) = (Vec::new(), Vec::new());
            again.encode(&mut of_again);
            found.value.as_ref().ok_or_else(|| format!("{key} is absent in one"))?.encode(&mut of_other);
            if bytes != of_other || found.expire_at() != entry.expire_at() {
                let (one, two) = (bytes.escape_ascii(), of_other.escape_ascii());
                return Err(format!("{key}, a {}, differs:\n{one}\n{two}", value.type_name()));
            }
            if bytes != of_again || again.encoding() != value.encoding() {
                let (one, two) = (bytes.escape_ascii(), of_again.escape_ascii());
                return Err(format!("{key}, a {}, is written otherwise:\n{one}\n{two}", value.type_name()));
            }
            // A hash whose fields are over, and which nobody has touched since, is on its way out.
            let is_over = value.first_end().is_some_and(|end| end <= one.context.now);
            if let Some(payload) = rdb::dump(value, one.context.now).filter(|_| !is_over) {
                let restored = rdb::restore(&payload, &one.state, one.context.now);
                if restored.is_err() {
                    return Err(format!("{key}, a {}: DUMP is not restored: {restored:?}", value.type_name()));
                }
            }
            found.value = Some(again);
            count += 1;
        }
    }
    Ok(count)
}

#[test]
fn commands_end_and_are_the_same_everywhere() {
    let corpus = corpus();
    let mut rounds = Rounds::new("commands", 4_000);
    let (mut one, mut two) = (Twin::new(), Twin::new());
    let (mut errors, mut objects, mut recent) = (0_u64, 0, Vec::new());
    while let Some(mut random) = rounds.next() {
        let args = command(&mut random, &corpus);
        if args.is_empty() {
            continue;
        }
        recent.push(shown(&args));
        if recent.len() > 40 {
            recent.remove(0);
        }
        if random.random_bool(0.2) {
            let later = random.random_range(0..2_000);
            (one.context.now, two.context.now) = (one.context.now + later, two.context.now + later);
        }
        let resp3 = random.random_bool(0.5);
        (one.context.resp3, two.context.resp3) = (resp3, resp3);
        let what = || shown(&args);
        let input = args.join(&b' ');
        let first = rounds.step(&input, what, || answer(&mut one, &args));
        let second = rounds.step(&input, what, || answer(&mut two, &args));
        let (Some(first), Some(second)) = (first, second) else {
            (one, two) = (Twin::new(), Twin::new());
            continue;
        };
        errors += u64::from(first.starts_with("(error)"));
        // What a command of the node itself says may depend on the time that it runs.
        if first != second && first.len() < SHOWN_BYTES_MAX {
            let (first, second) = (&first[..first.len().min(600)], &second[..second.len().min(600)]);
            let text =
                format!("round {}: {}\n  {first}\n  {second}\nbehind\n  {}", rounds.begun, what(), recent.join("\n  "));
            rounds.failures.push(text);
            (one, two) = (Twin::new(), Twin::new());
            continue;
        }
        if rounds.begun.is_multiple_of(LOOK_EVERY) {
            let begun = rounds.begun;
            let what = || format!("a look behind\n  {}", recent.join("\n  "));
            match rounds.step(b"a look", what, || look(&one, &mut two)) {
                Some(Ok(count)) => objects += count,
                Some(Err(why)) => {
                    rounds.failures.push(format!("round {begun}: {why}\nbehind\n  {}", recent.join("\n  ")));
                    (one, two) = (Twin::new(), Twin::new());
                }
                None => (one, two) = (Twin::new(), Twin::new()),
            }
        }
        if one.state.memory() > MEMORY_BYTES_MAX || random.random_bool(0.000_2) {
            (one, two) = (Twin::new(), Twin::new());
        }
    }
    rounds.end(&format!("{errors} errors, {objects} objects written and read"));
}

/// Programs from parts of programs.
fn program(random: &mut SmallRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    const PARTS: &[&str] = &[
        "local t = {} for i = 1, 1000 do t[i] = {t} end return t",
        "local t = {} t[1] = t return t",
        "return string.rep('x', 100000000)",
        "return string.format('%99999999d', 1)",
        "return string.format('%s %q %d %5.2f', 1, 2, 3, 4)",
        "return cjson.encode(cjson.decode(ARGV[1]))",
        "return cmsgpack.unpack(ARGV[1])",
        "return cmsgpack.pack(KEYS, ARGV, 1.5, -1, 1e300, nil, true, {a = {}})",
        "return struct.unpack(ARGV[1], ARGV[2])",
        "return struct.pack('>I2s0c3d', 1, 'x', 'abc', 1.5)",
        "return bit.tohex(ARGV[1], -8)",
        "while true do end",
        "repeat local x = redis.pcall('INCR', KEYS[1]) until false",
        "return pcall(function() while true do end end)",
        "return setmetatable({}, {__index = function(t, k) return t[k] end}).x",
        "return load('return 1')()",
        "return coroutine.wrap(function() coroutine.yield(1) end)()",
        "local f f = function(n) return f(n + 1) + 1 end return f(1)",
        "return redis.call(unpack(ARGV))",
        "return redis.pcall(unpack(ARGV)).err",
        "return {redis.call('SET', KEYS[1], ARGV[1]), redis.call('GET', KEYS[1])}",
        "return tostring(redis.sha1hex(ARGV[1])) .. redis.REDIS_VERSION",
        "redis.setresp(3) return redis.call('HGETALL', KEYS[1])",
        "return table.concat(ARGV, ',', -5, 5)",
        "table.sort(ARGV, function() return true end) return ARGV",
        "return {1, 2.9, '3', true, false, nil, 4}",
        "return #('x'):rep(1000):gsub('.', '%0%0')",
        "error(setmetatable({}, {__tostring = function() return 'x' end}))",
        "return {err = {}}",
        "return {ok = 1}",
        "return {map = {{}, 1}}",
        "return {double = 'x'}",
        "_G.x = 1",
        "string.x = 1",
        "getmetatable('').__index = nil",
        "return rawset(_G, 'x', 1)",
        "for k, v in pairs(_G) do redis.log(redis.LOG_WARNING, k) end",
        "return math.random(-9223372036854775808, 9223372036854775807)",
    ];
    let mut code =
        if random.random_bool(0.5) { pick(random, PARTS).as_bytes().to_vec() } else { pick(random, corpus).clone() };
    if random.random_bool(0.4) {
        let other = if random.random_bool(0.5) { pick(random, PARTS).as_bytes() } else { pick(random, corpus) };
        let cut = random.random_range(0..=code.len());
        let from = random.random_range(0..=other.len());
        code.truncate(cut);
        code.push(b' ');
        code.extend_from_slice(&other[from..]);
    }
    // Numbers and words at their limits in the place of others.
    if random.random_bool(0.5) {
        let digits: Vec<usize> = (0..code.len()).filter(|at| code[*at].is_ascii_digit()).collect();
        if !digits.is_empty() {
            let at = *pick(random, &digits);
            code.splice(at..at + 1, pick(random, WORDS).bytes());
        }
    }
    if random.random_bool(0.3) {
        mutate(random, &mut code);
    }
    code
}

#[test]
fn scripts_end_and_are_the_same_everywhere() {
    let lines = corpus();
    let is_script = |line: &&Vec<Vec<u8>>| line.len() > 1 && line[0].eq_ignore_ascii_case(b"eval");
    let programs: Vec<Vec<u8>> = lines.iter().filter(is_script).map(|line| line[1].clone()).collect();
    assert!(programs.len() > 100);
    let mut rounds = Rounds::new("scripts", 600);
    let (mut one, mut two) = (Twin::new(), Twin::new());
    let mut errors = 0_u64;
    while let Some(mut random) = rounds.next() {
        for twin in [&mut one, &mut two] {
            twin.state.settings.values.insert("script-instruction-budget".to_owned(), "200000".to_owned());
        }
        let mut args = vec![b"EVAL".to_vec(), program(&mut random, &programs), b"2".to_vec()];
        args.extend([pick(&mut random, KEYS).as_bytes().to_vec(), pick(&mut random, KEYS).as_bytes().to_vec()]);
        let mut more = command(&mut random, &lines);
        if random.random_bool(0.3) {
            more.iter_mut().for_each(|word| mutate(&mut random, word));
        }
        args.extend(more);
        let what = || format!("EVAL {}\n  {}", String::from_utf8_lossy(&args[1]), shown(&args[2..]));
        let input = args.join(&b' ');
        let first = rounds.step(&input, what, || answer(&mut one, &args));
        let second = rounds.step(&input, what, || answer(&mut two, &args));
        let (Some(first), Some(second)) = (first, second) else {
            (one, two) = (Twin::new(), Twin::new());
            continue;
        };
        errors += u64::from(first.starts_with("(error)"));
        if first != second && first.len() < SHOWN_BYTES_MAX {
            let (first, second) = (&first[..first.len().min(600)], &second[..second.len().min(600)]);
            rounds.failures.push(format!("round {}: {}\n  {first}\n  {second}", rounds.begun, what()));
            (one, two) = (Twin::new(), Twin::new());
        }
        if one.state.memory() > MEMORY_BYTES_MAX || random.random_bool(0.01) {
            (one, two) = (Twin::new(), Twin::new());
        }
    }
    rounds.end(&format!("{errors} errors"));
}

impl crate::State {
    /// For what changes objects behind commands' backs.
    fn db_of_id(&mut self, id: DbId) -> Option<&mut crate::Db> {
        self.dbs.get_mut(&id)
    }
}
