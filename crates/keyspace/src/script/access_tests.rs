use std::sync::Arc;

use bytes::Bytes;

use crate::twin::Twin;
use crate::{Denial, Grant, Observed, Permit, Refuse};

#[test]
fn scripts_are_refused_what_commands_are() {
    let mut twin = Twin::new();
    twin.check("SET x 1");
    let no_writes = "#!lua flags=no-writes\\nreturn redis.call('get','x')";
    let writes = "#!lua\\nreturn 1";
    let allow = "#!lua flags=allow-oom\\nreturn redis.call('set','x','2')";
    twin.context.refuse = Refuse::MEMORY;
    twin.check(&format!(
        r#"EVAL "return redis.pcall('set','x','y').err" 1 x => "OOM command not allowed when used memory > \'maxmemory\'."
           EVAL "return redis.call('get','x')" 1 x => "1"
           EVAL "redis.call('del','x') return redis.call('set','x','1')" 1 x => OK
           EVAL "{no_writes}" 1 x => "1"
           EVAL "{writes}" 0 => (error) OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'
           EVAL "{allow}" 1 x => OK"#,
    ));
    twin.context.refuse = Refuse::REPLICAS;
    twin.check(&format!(
        r#"EVAL "return redis.pcall('set','x','y').err" 1 x => "NOREPLICAS Not enough good replicas to write."
           EVAL "return redis.call('get','x')" 1 x => "2"
           EVAL "{no_writes}" 1 x => "2"
           EVAL "{writes}" 0 => (error) NOREPLICAS Not enough good replicas to write."#,
    ));
}

#[test]
fn scripts_do_what_their_user_may() {
    let mut twin = Twin::new();
    let text = |text: &str| Bytes::from(text.to_owned());
    let grant = Grant {
        commands: ["eval", "set", "sort", "publish"].iter().map(|name| (text(name), Vec::new())).collect(),
        keys: vec![(text("x*"), true, true)],
        ..Grant::default()
    };
    twin.context.permit = Some(Arc::new(Permit { user: text("bob"), grants: vec![grant] }));
    twin.context.observed = Observed::COUNTS;
    twin.check(
        r#"EVAL "return redis.call('set','xx','1')" 1 xx => OK
           EVAL "return redis.pcall('get','xx').err" 0 => "NOPERM ACL failure in script: User bob has no permissions to run the \'get\' command""#,
    );
    assert_eq!(twin.effects.denials, [Denial::Command("get")]);
    twin.check(
        r#"EVAL "return redis.pcall('set','y','1').err" 0 => "NOPERM ACL failure in script: No permissions to access a key"
           EVAL "return redis.pcall('publish','news','1').err" 0 => "NOPERM ACL failure in script: No permissions to access a channel"
           EVAL "return redis.pcall('ping').err" 0 => "NOPERM ACL failure in script: User bob has no permissions to run the \'ping\' command"
           EVAL "return redis.pcall('sort','x','get','k*').err" 0 => "ERR GET option of SORT denied due to insufficient ACL permissions."
           EVAL "return {redis.acl_check_cmd('set','xx','1'), redis.acl_check_cmd('hset','xx','f','1'), redis.acl_check_cmd('set','yy','1'), redis.acl_check_cmd('config','get','x'), 1}" 0 => [1, nil, nil, nil, 1]
           EVAL "return redis.acl_check_cmd('nope')" 0 => (error) ERR Invalid command passed to redis.acl_check_cmd() script: 7b1a2d6ef0cf0cbb2fbae2e0da7f1bb7d5d1ffb2, on @user_script:1."#
            .rsplit_once('\n')
            .map_or("", |(lines, _)| lines),
    );
}

#[test]
fn calls_are_told_where_somebody_wants_to_know() {
    let mut twin = Twin::new();
    twin.check(r#"EVAL "redis.call('set','k','1') redis.call('get','k')" 1 d"#);
    assert!(twin.effects.is_without_calls());
    twin.context.observed = Observed::all();
    twin.check(
        r#"EVAL "redis.call('set','k','1') redis.call('get','k') redis.pcall('incrby','k','x') redis.pcall('eval','','0')" 1 d"#,
    );
    let calls: Vec<_> =
        twin.effects.calls.iter().map(|calls| (calls.spec.name, calls.count, calls.failed, calls.rejected)).collect();
    assert_eq!(calls, [("set", 1, 0, 0), ("get", 1, 0, 0), ("incrby", 1, 1, 0), ("eval", 0, 0, 1)]);
    assert_eq!(twin.effects.call_errors, ["ERR", "ERR"]);
    assert_eq!(twin.effects.call_args.len(), 3);
    assert_eq!(twin.effects.reads, ["k", "d"], "the keys that are read and, once one is, those that are named");
    // An error that becomes the reply is counted there.
    assert!(twin.line(r#"EVAL "return redis.call('incrby','k','x')" 1 k"#).starts_with("(error)"));
    assert!(twin.effects.call_errors.is_empty());
    twin.check(r#"EVAL "redis.call('set','k','2')" 1 d"#);
    assert!(twin.effects.reads.is_empty());
}

/// Scripts that leave behind what they can, and what those of the next entry see of it.
#[test]
fn an_entry_finds_a_new_lua() {
    let mut twin = Twin::new();
    twin.whole_entries = true;
    twin.check("CONFIG SET script-memory-limit 4000000");
    let full = r#"EVAL "local t = {} for i = 1, 1e6 do t[i] = string.rep(tostring(i), 50) if i % 10 == 0 then redis.call('set', 'n', i) end end" 0"#;
    let probe = r#"EVAL "local names = {} for k in pairs(_G) do names[#names+1] = tostring(k) end table.sort(names) return {#names, redis.call('get', 'n'), type(redis.call), type(bit.band), #cjson.encode({1,2}), tostring(os.clock())}" 1 k"#;
    assert_eq!(twin.line(full), "(error) ERR not enough memory");
    let first = twin.line(probe);
    let leave = [
        r#"EVAL "local t = {} for i = 1, 20000 do t[i] = {i} end return #t" 0"#,
        r#"EVAL "local co = coroutine.wrap(function() while true do coroutine.yield(string.rep('x', 1000)) end end) co() return 1" 0"#,
        r#"EVAL "pcall(function() string.x = 1 end) pcall(function() rawset(_G, 'y', 1) end) pcall(function() redis.call = 5 end) return 1" 0"#,
        r#"EVAL "local function deep(n) if n > 0 then return 1 + deep(n - 1) end return 0 end return deep(5000)" 0"#,
        r#"EVAL "return cmsgpack.unpack(cmsgpack.pack({1,2,{3}}))[3][1] + #struct.pack('I', 5)" 0"#,
        r#"EVAL "return redis.call('set', 'k', string.rep('x', 1000)).ok" 1 k"#,
        r#"EVAL "math.randomseed(1) return math.random(10)" 0"#,
        r#"EVAL "error('x')" 0"#,
        r#"EVAL "return setmetatable({}, {__index = function() error('y') end}).z" 0"#,
        r#"FUNCTION LOAD REPLACE "\x23!lua name=l\nredis.register_function('f', function() return 1 end)""#,
        r#"FCALL F 0"#,
    ];
    for _ in 0..3 {
        for line in leave {
            twin.line(line);
            twin.end_entry();
            assert_eq!(twin.line(full), "(error) ERR not enough memory", "behind {line}");
            assert_eq!(twin.line(probe), first, "behind {line}");
            twin.end_entry();
        }
    }
}

#[test]
fn a_library_sees_little_while_it_is_loaded() {
    let load = |code: &str| {
        let mut twin = Twin::new();
        twin.line(&format!("FUNCTION LOAD \"#!lua name=l\\n{code}\""))
    };
    let absent = |name: &str| {
        format!(
            "(error) ERR Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable '{name}'"
        )
    };
    assert_eq!(load("return math.random()"), absent("math"));
    assert_eq!(load("return redis.call('ping')"), absent("call"));
    assert_eq!(load("return redis.set_repl(1)"), absent("set_repl"));
    assert_eq!(load("local m = getmetatable(_G)"), absent("getmetatable"));
    assert!(load("a = 1").contains("Attempt to modify a readonly table"));
    let mut twin = Twin::new();
    twin.check(
        r#"FUNCTION LOAD "\x23!lua name=\"l\"\nlocal lib = redis lib.register_function('F1', function() return math.floor(1.5) end) lib.register_function('f2', function() lib.register_function('f3', function() end) end)" => "l"
           FCALL f1 0 => 1
           FUNCTION FLUSH SYNC more => (error) ERR unknown subcommand or wrong number of arguments for 'FLUSH'. Try FUNCTION HELP.
           FUNCTION LOAD "\x23!lua name=m\nredis.register_function('f1', function() end)" => (error) ERR Function f1 already exists"#,
    );
    assert!(twin.line("FCALL f2 0").contains("can only be called on FUNCTION LOAD command"));
}

#[test]
fn a_pattern_that_takes_too_long_ends_with_the_budget() {
    let mut twin = Twin::new();
    twin.check("CONFIG SET script-instruction-budget 1000000");
    let long = r#"EVAL "return string.find(string.rep('a', 5000), '.-.-.-.-b')" 0"#;
    assert!(twin.line(long).contains("instruction budget"));
    twin.check(
        r#"EVAL "return {string.find('key:12', '(%a+):(%d+)')}" 0 => [1, 6, "key", "12"]
           EVAL "return {('a b c'):gsub('%a', {a = 'x', b = false})}" 0 => ["x b c", 3]
           EVAL "return {('abc'):gsub('', '-')}" 0 => ["-a-b-c-", 4]
           EVAL "return {('abc'):gsub('()', function(at) return at end)}" 0 => ["1a2b3c4", 4]
           EVAL "return {('hello'):gsub('^l*', string.upper, 1), ('x=1, y=2'):gsub('(%w+)=(%w+)', '%2=%1')}" 0 => ["hello", "1=x, 2=y", 2]
           EVAL "local t = {} for k, v in ('a=1,b=2'):gmatch('(%w+)=(%w+)') do t[#t + 1] = k .. v end return t" 0 => ["a1", "b2"]
           EVAL "return select(2, pcall(function() return ('x'):find('%') end))" 0 => "user_script:1: malformed pattern (ends with \'%\')"
           EVAL "return select(2, pcall(function() local r = ('x'):gsub('x', function() return {} end) return r end))" 0 => "user_script:1: invalid replacement value (a table)"
           EVAL "return select(2, pcall(string.find))" 0 => "bad argument #1 to \'find\' (string expected, got no value)""#,
    );
}

#[test]
fn large_tables_are_written() {
    Twin::new().check(
        r#"EVAL "local m = {} for i = 1, 100000 do m[tostring(i)] = i end local n = 0 for _ in pairs(cmsgpack.unpack(cmsgpack.pack(m))) do n = n + 1 end return n" 0 => 100000
           EVAL "local m = {} for i = 1, 30000 do m['k'..i] = i end return #cjson.encode(m)" 0 => 427789"#,
    );
}
