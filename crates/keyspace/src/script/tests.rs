use crate::twin::Twin;

/// What Debian's Redis says to each script; a line with the script, one with the reply.
#[test]
fn scripts_answer_as_redis_does() {
    let mut twin = Twin::new();
    let mut lines = include_str!("answers.txt").lines();
    while let (Some(script), Some(want)) = (lines.next(), lines.next()) {
        let got = match twin.run(&["EVAL", script, "1", "k1", "a1"]) {
            crate::Ran::Reply(reply) => crate::twin::text(&reply),
            crate::Ran::Block(_) => "(waits)".to_owned(),
        };
        // Maps are arrays in RESP2.
        let flat = |text: &str| text.replace('{', "[").replace('}', "]").replace("\": ", "\", ").replace("~[", "[");
        assert_eq!(flat(&got), flat(want), "{script}");
    }
}

#[test]
fn replies_and_values() {
    Twin::new().check(
        r#"EVAL "return 3.99" 0 => 3
           EVAL "return -3.99" 0 => -3
           EVAL "return {1,2,nil,4}" 0 => [1, 2]
           EVAL "return 'text'" 0 => "text"
           EVAL "return true" 0 => 1
           EVAL "return false" 0 => nil
           EVAL "return nil" 0 => nil
           EVAL "return {}" 0 => []
           EVAL "return {KEYS[1],KEYS[2],ARGV[1],ARGV[2],#KEYS,#ARGV}" 2 a b c d => ["a", "b", "c", "d", 2, 2]
           EVAL "return {err='MY x'}" 0 => (error) MY x
           EVAL "return {ok='a b'}" 0 => a b
           EVAL "return redis.error_reply('My Err')" 0 => (error) My Err
           EVAL "return redis.error_reply('bad')" 0 => (error) ERR bad
           EVAL "return redis.error_reply('-BAD x')" 0 => (error) BAD x
           EVAL "return redis.status_reply('fine')" 0 => fine
           EVAL "return {1,{err='E x'},{ok='fine'},{2,{3}}}" 0 => [1, (error) E x, fine, [2, [3]]]
           EVAL "local a = {} a[1] = a return a" 0 => (error) ERR reached lua stack limit
           EVAL "return 1e300" 0 => -9223372036854775808
           EVAL "return tostring(1e15)..' '..tostring(0.1)..' '..(2^53)" 0 => "1e+15 0.1 9.007199254741e+15"
           EVAL "return _VERSION" 0 => "Lua 5.1"
           EVAL "return function() end" 0 => nil"#,
    );
}

#[test]
fn calls_may_give_many_values() {
    Twin::new().check(
        r#"EVAL "local t = {} for i = 1, 7000 do t[i] = i end return #{pcall(unpack, t)}" 0 => 7001
           EVAL "local t = {} for i = 1, 7000 do t[i] = i end return #{xpcall(function() return unpack(t) end, error)}" 0 => 7001
           EVAL "local t = {} for i = 1, 7000 do t[i] = i end return #{coroutine.resume(coroutine.create(unpack), t)}" 0 => 7001
           EVAL "local function f() return pcall(f) end return f()" 0 => 1"#,
    );
}

#[test]
fn a_script_copies_so_much() {
    let mut twin = Twin::new();
    twin.run(&["SET", "large", &"x".repeat(64 << 20)]);
    let copies = twin.line("EVAL \"for i = 1, 100 do redis.call('copy', 'large', 'c' .. i) end\" 0");
    assert!(copies.starts_with("(error) OOM command not allowed when used memory > 'maxmemory'. script: "), "{copies}");
    twin.check(
        r#"EXISTS c14 => 1
           EXISTS c17 => 0
           RPUSH l 2 1
           EVAL "for i = 1, 100 do redis.call('sort', 'l', 'store', 'd' .. i) end return redis.call('lrange', 'd100', 0, -1)" 0 => ["1", "2"]"#,
    );
}

#[test]
fn replies_of_resp3() {
    let mut twin = Twin::new();
    twin.check(
        r#"XADD s 1-1 n 1
           XGROUP CREATE s g 0
           EVAL "redis.setresp(3) return true" 0 => #true
           EVAL "redis.setresp(3) return {double=0.5}" 0 => ,0.5
           EVAL "return {map={a=1}}" 0 => {"a": 1}
           EVAL "return {set={x=true}}" 0 => ~["x"]
           EVAL "return {big_number='123'}" 0 => (123
           EVAL "return {verbatim_string={format='txt',string='x'}}" 0 => "x"
           EVAL "redis.setresp(3) return redis.call('xinfo','groups','s')[1].map.name" 0 => "g"
           EVAL "return redis.call('xinfo','groups','s')[1][2]" 0 => "g"
           EVAL "redis.setresp(3) return tostring(redis.call('xread','streams','s','9'))" 0 => "nil"
           EVAL "return tostring(redis.call('xread','streams','s','9'))" 0 => "false"
           EVAL "redis.setresp(4)" 0 => (error) ERR RESP version must be 2 or 3. script: a16ddc8e5a3efc6cbf47ad6a9d9f44b2a0fd3d7c, on @user_script:1."#
            .rsplit_once('\n')
            .map_or("", |(lines, _)| lines),
    );
    assert!(twin.line("EVAL \"redis.setresp(4)\" 0").starts_with("(error) ERR RESP version must be 2 or 3. script: "));
}

#[test]
fn errors_are_those_of_redis() {
    Twin::new().check(
        r#"EVAL "return redis.call('foo')" 0 => (error) ERR Unknown Redis command called from script script: cc78c5a793d041f28ab0f6b117a82d1428ccfd13, on @user_script:1.
           EVAL "return redis.pcall('foo')" 0 => (error) ERR Unknown Redis command called from script
           EVAL "return redis.call('subscribe','x')" 0 => (error) ERR This Redis command is not allowed from script script: 2f334966be3d5602175118691c9d198b0a695e53, on @user_script:1.
           EVAL "error('x')" 0 => (error) ERR user_script:1: x script: 9851144f39f03a0d597a980c5aa79c80cb696891, on @user_script:1.
           EVAL "error({err='MY x'})" 0 => (error) MY x script: 892d3143709ed90870061a291d50ce1f009cd7bf, on @user_script:1.
           EVAL "return x" 0 => (error) ERR user_script:1: Script attempted to access nonexistent global variable 'x' script: 03c387736bb5cc009ff35151572cee04677aa374, on @user_script:1.
           EVAL "x = 1" 0 => (error) ERR user_script:1: Attempt to modify a readonly table script: 34bce5f775de97f557a34088509c8bfe1ea17e52, on @user_script:1.
           EVAL "_G.x = 1" 0 => (error) ERR user_script:1: Attempt to modify a readonly table script: e5cf4a26667af1721988fe8c9829d5cd2e26c62e, on @user_script:1.
           EVAL "redis.call = 1" 0 => (error) ERR user_script:1: Attempt to modify a readonly table script: 69f883616b1814e2dc95cf801f324e38c5cc5ed2, on @user_script:1.
           EVAL "setmetatable(_G,{})" 0 => (error) ERR Attempt to modify a readonly table script: e8f1b52cec0990f58c59b37010d130cfdce9e1a5, on @user_script:1.
           EVAL "local g=getmetatable(_G); g.__index=1" 0 => (error) ERR user_script:1: Attempt to modify a readonly table script: cde3c9455c1e443e4f23dc9acbe9bc717e8e0532, on @user_script:1.
           EVAL "return 1+nil" 0 => (error) ERR user_script:1: attempt to perform arithmetic on a nil value script: 443c62573584f71824058f7cd2773973472c735b, on @user_script:1.
           EVAL "return cjson.decode('x')" 0 => (error) ERR user_script:1: Expected value but found invalid token at character 1 script: 5f58dd5cefb3eb0313af3534f36be4b83e79ae80, on @user_script:1.
           EVAL "return cjson.encode({[1]=1,[100]=2})" 0 => (error) ERR user_script:1: Cannot serialise table: excessively sparse array script: 10e3fc1ba99d624fff4384f90d3b886b1456f226, on @user_script:1.
           EVAL "local ok,e=pcall(redis.call,'foo') return {type(e),e}" 0 => ["string", "ERR Unknown Redis command called from script"]
           EVAL "local ok,e=pcall(error,{err='x'}) return {type(e),tostring(e)}" 0 => ["string", "x"]
           EVAL "local ok,e=pcall(cjson.decode,'x') return {type(e),e}" 0 => ["string", "Expected value but found invalid token at character 1"]
           EVAL "return redis.call('incr','s',{})" 0 => (error) ERR Lua redis lib command arguments must be strings or integers script: bf8a0477e6201df25dc6453a9b7559f14aa6a91f, on @user_script:1.
           EVAL "return redis.call()" 0 => (error) ERR Please specify at least one argument for this redis lib call script: 0a907e1429221a4d85516cab7fd219a82a9439d8, on @user_script:1.
           EVAL "syntax error here" 0 => (error) ERR Error compiling script (new function): user_script:1: '=' expected near 'error'
           EVAL "return redis.sha1hex()" 0 => (error) ERR wrong number of arguments script: 3c7ce947ae74a835cc575b6ee87fb27503cb7ba4, on @user_script:1.
           EVAL "return redis.log()" 0 => (error) ERR redis.log() requires two arguments or more. script: 28e28bf25123668ac541f5eec91bf7ad3d2fe0bd, on @user_script:1.
           EVAL "return KEYS[1]" 2 a => (error) ERR Number of keys can't be greater than number of args
           EVAL "return KEYS[1]" -1 a => (error) ERR Number of keys can't be negative
           EVAL "return KEYS[1]" x a => (error) ERR value is not an integer or out of range
           EVALSHA 0123 0 => (error) NOSCRIPT No matching script. Please use EVAL.
           EVALSHA 0123456789012345678901234567890123456789 0 => (error) NOSCRIPT No matching script. Please use EVAL.
           EVAL "error('x',0)" 0 => (error) ERR x script: 8f4889c5107712848127051ca91450584d2d6d6d, on @user_script:1.
           EVAL "local f = function() error('q') end f()" 0 => (error) ERR user_script:1: q script: 815cb410c8c01cf2211264e54213fe65c4a93cdf, on @user_script:1.
           EVAL "local t=setmetatable({},{__index=function(t,k) error('idx') end}) return t.x" 0 => (error) ERR user_script:1: idx script: d9adc72225648ba5602a6e4bdb60891af22e5a16, on @user_script:1.
           EVAL "rawset(_G,'x',1)" 0 => (error) ERR Attempt to modify a readonly table script: 90860ee597073785c7a12c667667abc4495e2c78, on @user_script:1.
           EVAL "return rawget(_G,'x')" 0 => nil
           EVAL "string.rep='x'" 0 => (error) ERR user_script:1: Attempt to modify a readonly table script: 38b88eef668224942e52dc6787fc790dac035599, on @user_script:1.
           EVAL "getmetatable('').__index = 1" 0 => (error) ERR user_script:1: Attempt to modify a readonly table script: b6891165ebdc534f0f374ecfee85c5d46f13aac3, on @user_script:1.
           EVAL "KEYS = {}" 0 => (error) ERR user_script:1: Attempt to modify a readonly table script: 6f9c2135c385ef4406555ad3ccccb97d6af382cb, on @user_script:1.
           EVAL "return print" 0 => (error) ERR user_script:1: Script attempted to access nonexistent global variable 'print' script: df4c752a7558004676bbee87e38b92e0b9056d68, on @user_script:1.
           EVAL "return redis.call('config','get','port')" 0 => (error) ERR This Redis command is not allowed from script script: 54c2b14b0e9fc08b630cefe33a8fbbaab17f6d19, on @user_script:1.
           EVAL "return redis.call('script','flush')" 0 => (error) ERR This Redis command is not allowed from script script: 2e2db287d48c36431e8437bb7077dc6af3cae3d6, on @user_script:1.
           EVAL "return redis.call('xread','block',0,'streams','x','0')" 0 => (error) ERR xread command is not allowed with BLOCK option from scripts script: 78d734202b67f1975e5c16c2f988d5d12544cd42, on @user_script:1.
           EVAL "return redis.call('select',1)" 0 => OK
           EVAL "return redis.call('echo','b')" 0 => "b"
           EVAL "return redis.call('ping')" 0 => PONG
           EVAL "return redis.call('publish','a','b')" 0 => 0"#,
    );
}

#[test]
fn first_lines() {
    let mut twin = Twin::new();
    let mut check = |script: &str, want: &str| {
        let got = match twin.run(&["EVAL", script, "0"]) {
            crate::Ran::Reply(reply) => crate::twin::text(&reply),
            crate::Ran::Block(_) => String::new(),
        };
        assert!(got.starts_with(want), "{script}: {got}");
    };
    check("#!lua flags=foo\nreturn 1", "(error) ERR Unexpected flag in script shebang: foo");
    check("#!lua bar=foo\nreturn 1", "(error) ERR Unknown lua shebang option: bar=foo");
    check("#!py\nreturn 1", "(error) ERR Unexpected engine in script shebang: #!py");
    check("#!lua", "(error) ERR Invalid script shebang");
    check("#!lua\nreturn 1", "1");
    check(
        "#!lua flags=no-writes\nreturn redis.call('xadd','a','*','a','1')",
        "(error) ERR Write commands are not allowed from read-only scripts. script: ",
    );
    check("\n\nerror('x')", "(error) ERR user_script:3: x script: ");
    let crate::Ran::Reply(reply) = twin.run(&["EVAL_RO", "#!lua\nreturn 1", "0"]) else { return };
    let want = "(error) ERR Can not execute a script with write flag using *_ro command.";
    assert_eq!(crate::twin::text(&reply), want);
    let crate::Ran::Reply(reply) = twin.run(&["EVAL_RO", "return redis.call('xadd','a','*','a','1')", "0"]) else {
        return;
    };
    assert!(
        crate::twin::text(&reply).starts_with("(error) ERR Write commands are not allowed from read-only scripts.")
    );
}

#[test]
fn scripts_are_known_by_digest() {
    Twin::new().check(
        r#"SCRIPT LOAD "return 7" => "c3d6f0e4a6e84bcd8d8f3cc5a8b0e9d5b3a8b3f1"
           SCRIPT LOAD "return (" => (error) ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'
           SCRIPT KILL => (error) NOTBUSY No scripts in execution right now.
           FUNCTION KILL => (error) NOTBUSY No scripts in execution right now.
           SCRIPT FLUSH WHEN => (error) ERR SCRIPT FLUSH only support SYNC|ASYNC option"#
            .split_once('\n')
            .map_or("", |(_, lines)| lines),
    );
    let mut twin = Twin::new();
    let digest = twin.line("SCRIPT LOAD \"return 7\"").replace('"', "");
    twin.check(&format!(
        "EVALSHA {digest} 0 => 7
         EVALSHA {} 0 => 7
         SCRIPT EXISTS {digest} 0 => [1, 0]
         SCRIPT FLUSH => OK
         SCRIPT EXISTS {digest} => [0]
         EVALSHA {digest} 0 => (error) NOSCRIPT No matching script. Please use EVAL.",
        digest.to_uppercase()
    ));
}

#[test]
fn eval_scripts_are_forgotten_when_there_are_many() {
    let mut twin = Twin::new();
    let first = twin.line("SCRIPT LOAD \"return 'kept'\"").replace('"', "");
    let second = String::from_utf8_lossy(&super::sha1_hex(b"return 'lost'")).into_owned();
    twin.line("EVAL \"return 'lost'\" 0");
    for n in 0..500 {
        twin.line(&format!("EVAL \"return {n}\" 0"));
    }
    assert_eq!(twin.line(&format!("SCRIPT EXISTS {first} {second}")), "[1, 0]");
    assert_eq!(twin.state.scripts.counts().0, 501);
    let mut bytes = Vec::new();
    twin.state.scripts.encode(&mut bytes);
    let mut rest = bytes.as_slice();
    let back = super::ScriptStore::decode(&mut rest);
    let mut again = Vec::new();
    if let Some(back) = back {
        back.encode(&mut again);
    }
    assert_eq!((again, rest), (bytes.clone(), [].as_slice()));
}

#[test]
fn nothing_depends_on_the_node() {
    Twin::new().check(
        r#"EVAL "return {tostring({}), tostring(print_ or tostring), tostring(coroutine.create(function() end)), tostring(cjson.null)}" 0 => (error) ERR user_script:1: Script attempted to access nonexistent global variable 'print_' script: 8ac2c9e5a5ad0d1d4b2ea4e0c2cd52a9e9fd7d7c, on @user_script:1."#
            .split_once('\n')
            .map_or("", |(_, lines)| lines),
    );
    Twin::new().check(
        r#"EVAL "return {tostring({}), tostring(tostring), tostring(coroutine.create(function() end)), tostring(cjson.null)}" 0 => ["table: 0x0", "function: 0x0", "thread: 0x0", "userdata: (nil)"]
           EVAL "return tostring(setmetatable({},{__tostring=function() return 'mine' end}))" 0 => "mine"
           EVAL "return {math.random(),tostring(math.random()),math.random(100),math.random(5,10)}" 0 => [0, "0.84797789568453", 47, 6]
           EVAL "math.randomseed(5) return tostring(math.random())" 0 => "0.52483957937213"
           EVAL "local t = {a=1} t[{}]=2 local ok, e = pcall(function() for k in pairs(t) do end end) return e" 0 => "user_script:1: a table whose keys are objects has no order"
           EVAL "local t = {} t[print2 and 1 or {}]=2 return 1" 0"#
            .rsplit_once('\n')
            .map_or("", |(lines, _)| lines),
    );
    Twin::new().check(
        r#"EVAL "local t = {} t[{}]=2 return select(2, pcall(next, t))" 0 => "a table whose keys are objects has no order"
           EVAL "local t = {} t[{}]=2 return select(2, pcall(cmsgpack.pack, t))" 0 => "a table whose keys are objects has no order"
           EVAL "local t = {} for k,v in pairs({a=1,b=2,c=3,1,2}) do t[#t+1] = k..'='..v end return t" 0 => ["1=1", "2=2", "a=1", "c=3", "b=2"]
           EVAL "return next({}) == nil and 1" 0 => 1
           EVAL "return redis.call('time')" 0 => ["1704067200", "0"]
           EVAL "return collectgarbage('count')" 0 => 0
           EVAL "return type(os.clock())" 0 => "number"
           EVAL "return loadstring('\x1bLua')" 0 => nil
           EVAL "return loadstring('return 5')()" 0 => 5
           EVAL "return load(function() return nil end)()" 0 => nil
           EVAL "return loadstring(string.dump(function() return 1 end))" 0 => nil"#,
    );
}

#[test]
fn scripts_end() {
    let mut twin = Twin::new();
    twin.state.settings.values.insert("script-instruction-budget".to_owned(), "200000".to_owned());
    let killed = "(error) ERR script killed: instruction budget of 200000 is used up";
    twin.check(&format!(
        r#"EVAL "while true do end" 0 => {killed}
           EVAL "while true do pcall(function() while true do end end) end" 0 => {killed}
           EVAL "return pcall(function() while true do end end)" 0 => {killed}
           EVAL "xpcall(function() while true do end end, function(e) return e end) return 1" 0 => {killed}
           EVAL "local c = coroutine.wrap(function() while true do end end) pcall(c) return 1" 0 => {killed}
           EVAL "while true do local c = coroutine.create(function() end) coroutine.resume(c) end" 0 => {killed}
           EVAL "local t = setmetatable({{}}, {{__index=function(t,k) return t[k..'x'] end}}) return pcall(function() return t.x end)" 0
           EVAL "return 1" 0 => 1"#
    ));
    let mut twin = Twin::new();
    let full = twin.line(r#"EVAL "local t = {} for i = 1, 100000000 do t[i] = ('x'):rep(100000) .. i end" 0"#);
    assert!(full.starts_with("(error) ERR not enough memory"), "{full}");
    let full = twin.line(r#"EVAL "return ('x'):rep(1000000000)" 0"#);
    assert!(full.starts_with("(error) ERR not enough memory"), "{full}");
    let deep = twin.line(r#"EVAL "local function f() return 1 + f() end return f()" 0"#);
    assert!(deep.contains("stack overflow"), "{deep}");
}

/// Lua's own library adds up such bounds until they overflow, and walks away over its stack.
#[test]
fn unpack_refuses_what_the_stack_cannot_take() {
    let mut twin = Twin::new();
    for bounds in [
        "-2, 2147483647",
        "0, 2147483647",
        "-2147483648, -2",
        "-2147483648, 2147483647",
        "1, 8000",
        "1, 1e300",
        "-1/0, 1",
    ] {
        let line = twin.line(&format!("EVAL \"return {{unpack({{1,2,3}}, {bounds})}}\" 0"));
        assert!(line.starts_with("(error) ERR user_script:1: too many results to unpack script: "), "{bounds}: {line}");
    }
    twin.check(
        r#"EVAL "return {unpack({1,2,3})}" 0 => [1, 2, 3]
           EVAL "return {unpack({1,2,3}, 2)}" 0 => [2, 3]
           EVAL "return {unpack({1,2,3}, nil, 2)}" 0 => [1, 2]
           EVAL "return {unpack({1,2,3}, '2', '3')}" 0 => [2, 3]
           EVAL "return {unpack({1,2,3}, 1.9, 2.9)}" 0 => [1, 2]
           EVAL "return {unpack({1,2,3}, -1, -2)}" 0 => []
           EVAL "return {unpack({1,2,3}, 2, 1)}" 0 => []
           EVAL "return select('#', unpack({}, -1, 5))" 0 => 7
           EVAL "local r = {} for i = 0, 7999 do r[i] = 1 end return select('#', unpack(r))" 0 => 7999
           EVAL "local r = {} for i = 0, 7999 do r[i] = 1 end return redis.call('lpush', 'l', unpack(r))" 0 => 7999
           EVAL "return select('#', unpack({}, 1, 7997))" 0 => 7997
           EVAL "return select(2, pcall(unpack))" 0 => "bad argument #1 to \'unpack\' (table expected, got no value)"
           EVAL "return select(2, pcall(unpack, 'x'))" 0 => "bad argument #1 to \'unpack\' (table expected, got string)"
           EVAL "return select(2, pcall(unpack, {}, 'x'))" 0 => "bad argument #2 to \'unpack\' (number expected, got string)"
           EVAL "return select(2, pcall(unpack, {}, 1, {}))" 0 => "bad argument #3 to \'unpack\' (number expected, got table)""#,
    );
}

/// Repeating nothing often costs what repeating costs.
#[test]
fn rep_is_counted() {
    let mut twin = Twin::new();
    let killed = "(error) ERR script killed: instruction budget of 20000000 is used up";
    twin.check(&format!(
        r#"EVAL "local s = '' for i = 1, 1000000 do s = s:rep(2147483647) end return s" 0 => ""
           EVAL "for i = 1, 1000000 do ('x'):rep(1000000) end" 0 => {killed}
           EVAL "return {{('ab'):rep(3), ('ab'):rep(0), ('ab'):rep(-1), string.rep(12, 2), ('a'):rep('2')}}" 0 => ["ababab", "", "", "1212", "aa"]
           EVAL "return select(2, pcall(string.rep))" 0 => "bad argument #1 to \'rep\' (string expected, got no value)"
           EVAL "return select(2, pcall(string.rep, 'x'))" 0 => "bad argument #2 to \'rep\' (number expected, got no value)""#
    ));
}

/// A table that stands in many places is written in each of them: little code, very much work.
#[test]
fn shared_tables_are_counted() {
    let mut twin = Twin::new();
    twin.state.settings.values.insert("script-instruction-budget".to_owned(), "2000000".to_owned());
    let killed = "(error) ERR script killed: instruction budget of 2000000 is used up";
    let deep = "local t = {1} for i = 1, 60 do t = {t, t} end";
    let wide = "local t = {1} for i = 1, 14 do t = {t, t, t, t} end";
    for script in [
        format!("{deep} return cjson.encode(t)"),
        format!("{deep} return pcall(cjson.encode, t)"),
        format!("{deep} return t"),
        format!("{wide} return cmsgpack.pack(t)"),
        format!("{wide} return {{ok = tostring(pcall(cmsgpack.pack, t))}}"),
        "local s = ('x'):rep(4000000) for i = 1, 100 do redis.sha1hex(s) end".to_owned(),
        "local s = ('1,'):rep(100000) for i = 1, 100 do cjson.decode('[' .. s .. '1]') end".to_owned(),
        "local s = ('x'):rep(4000000) for i = 1, 100 do struct.pack('s', s) end".to_owned(),
        "local s = ('x'):rep(1000000) for i = 1, 1000000 do local t = s .. i end".to_owned(),
    ] {
        twin.check(&format!(r#"EVAL "{script}" 0 => {killed}"#));
    }
}

/// What C does within one instruction costs what it does.
#[test]
fn large_tables_and_texts_are_counted() {
    let mut twin = Twin::new();
    twin.state.settings.values.insert("script-instruction-budget".to_owned(), "2000000".to_owned());
    let killed = "(error) ERR script killed: instruction budget of 2000000 is used up";
    let large = "local t = {} for i = 1, 100000 do t[i] = i end local s = ('x'):rep(1000000)";
    for call in [
        "table.insert(t, 1, 0)",
        "table.remove(t, 1)",
        "table.concat(t)",
        "table.maxn(t)",
        "table.sort(t)",
        "s:upper()",
        "s:lower()",
        "s:reverse()",
    ] {
        let line = format!("EVAL \"{large} for i = 1, 10000 do pcall(function() {call} end) end\" 0");
        assert_eq!(twin.line(&line), killed, "{call}");
    }
    twin.check(
        r#"EVAL "local t = {1,2,3} table.insert(t, 4) table.insert(t, 1, 0) table.insert(t, '2', 'x') return t" 0 => [0, "x", 1, 2, 3, 4]
           EVAL "local t = {1,2,3} return {table.remove(t), table.remove(t, 1), #t, table.remove({}) == nil}" 0 => [3, 1, 1, 1]
           EVAL "local t = {3,1,2} table.sort(t) return table.concat(t, ',', 2, 3) .. table.concat({}) .. table.concat({7}, 'x')" 0 => "2,37"
           EVAL "local t = {3,1,2} table.sort(t, function(a, b) return a > b end) return t" 0 => [3, 2, 1]
           EVAL "return {('aB1'):upper(), ('aB1'):lower(), ('aB1'):reverse(), string.upper(12), table.maxn({1,2,3})}" 0 => ["AB1", "ab1", "1Ba", "12", 3]
           EVAL "return select(2, pcall(table.insert))" 0 => "bad argument #1 to \'insert\' (table expected, got no value)"
           EVAL "return select(2, pcall(table.insert, {}, 1, 2, 3))" 0 => "wrong number of arguments to \'insert\'"
           EVAL "return select(2, pcall(table.insert, {}, {}, 2))" 0 => "bad argument #2 to \'insert\' (number expected, got table)"
           EVAL "return select(2, pcall(table.sort, {1}, 1))" 0 => "bad argument #2 to \'sort\' (function expected, got number)"
           EVAL "return select(2, pcall(string.upper))" 0 => "bad argument #1 to \'upper\' (string expected, got no value)"
           EVAL "return select(2, pcall(function() local s = table.concat({{}}) return s end))" 0 => "user_script:1: invalid value (table) at index 1 in table for \'concat\'""#,
    );
}

/// Where a script ends that uses all memory, behind another script of its entry: it must be the same place on every node,
/// whatever ran there before.
#[test]
fn an_entry_finds_a_lua_as_new() {
    const LEAVES: &str = "local t = {} for i = 1, 2000 do t[i] = {i, ARGV[1] .. i} end return cjson.encode({#t})";
    const USES_ALL: &str = "local t = {} while true do t[#t + 1] = ('x'):rep(100) .. redis.call('incr', 'n') end";
    const OTHERS: [&str; 4] = [
        "local t = {} for i = 1, 30000 do t[i] = 'text ' .. i end return #t",
        "local function deep(n) if n == 0 then return 0 end return 1 + deep(n - 1) end return deep(5000)",
        "local t = {} for i = 1, 5000 do t[i] = i end return select('#', unpack(t))",
        "return {cmsgpack.pack({1, 2}), cjson.encode({a = 1}), pcall(function() error('x') end)}",
    ];
    let count = || {
        let mut twin = Twin::new();
        twin.state.settings.values.insert("script-memory-limit".to_owned(), "3000000".to_owned());
        twin.whole_entries = true;
        for _ in 0..2 {
            twin.run(&["EVAL", LEAVES, "0", "a"]);
        }
        let full = twin.run(&["EVAL", USES_ALL, "0"]);
        assert!(format!("{full:?}").contains("not enough memory"), "{full:?}");
        let count = twin.line("GET n");
        twin.end_entry();
        count
    };
    let want = count();
    let mut twin = Twin::new();
    for clean in [super::clean_spent as fn(), super::clean_later] {
        for others in [&OTHERS[..1], &OTHERS[1..2], &OTHERS[2..], &OTHERS] {
            others.iter().for_each(|script| drop(twin.run(&["EVAL", script, "0"])));
            twin.end_entry();
            clean();
            assert_eq!(count(), want, "behind {others:?}");
        }
    }
}

/// What most scripts do does not cost a new Lua each time.
#[test]
fn luas_are_used_again() {
    use super::pool::Kind;
    for script in [
        "return 1",
        "return redis.call('set', 'k', ARGV[1])",
        "return ARGV[1] .. ' is a value that is forty bytes long'",
        "return cjson.encode({ARGV[1], {1, 2}})",
        "error('x')",
        "return redis.pcall('nothing')",
        "local t = {} for i = 1, 1500 do t[i] = 'text ' .. i end return #t",
    ] {
        let mut twin = Twin::new();
        twin.whole_entries = true;
        for _ in 0..20 {
            twin.run(&["EVAL", script, "0", "value"]);
        }
        let vm = twin.state.luas.take(Kind::Script).expect("a Lua");
        let (cleaned, new) = vm.bytes();
        assert_eq!(cleaned, Some(new), "behind {script}");
    }
}

/// What a run costs; not a test of anything.
#[test]
#[ignore = "prints times"]
fn times() {
    let scripts = [
        ("one call", "return redis.call('set', KEYS[1], ARGV[1])"),
        ("cjson", "return cjson.encode({a = ARGV[1], b = {1, 2, 3}})"),
        ("loop", "local n = 0 for i = 1, 1000 do n = n + i end return n"),
    ];
    for (name, script) in scripts {
        for entry in [1, 25, 1_000] {
            let mut twin = Twin::new();
            twin.whole_entries = true;
            let began = std::time::Instant::now();
            for n in 0..2_000 {
                twin.run(&["EVAL", script, "1", "k", "v"]);
                if n % entry == 0 {
                    twin.end_entry();
                    super::clean_spent();
                }
            }
            println!("{name}, {entry} in an entry: {:?} each", began.elapsed() / 2_000);
        }
    }
}

#[test]
fn cjson() {
    Twin::new().check(
        r#"EVAL "return cjson.encode({1,nil,3,a=1})" 0 => "{\"1\":1,\"3\":3,\"a\":1}"
           EVAL "return cjson.encode({1,2,{x=cjson.null},'a/b',true,1.5})" 0 => "[1,2,{\"x\":null},\"a\\/b\",true,1.5]"
           EVAL "return cjson.encode({})" 0 => "{}"
           EVAL "return cjson.encode(0/0)" 0 => (error) ERR user_script:1: Cannot serialise number: must not be NaN or Inf script: 37ad7e6f4d2e3b3e7cd9d8b8b5bbd7d9a9d0f8b5, on @user_script:1.
           EVAL "return cjson.decode('[1,2,{\"a\":[]}]')[3].a" 0 => []"#
            .lines()
            .filter(|line| !line.contains("0/0"))
            .collect::<Vec<_>>()
            .join("\n")
            .as_str(),
    );
    Twin::new().check(
        r#"EVAL "local d = cjson.decode(ARGV[1]) return {d.a, d.b == cjson.null and 1, d.c[2], tostring(d.d), d.e}" 0 "{\"a\":\"x\\u00e9\\ud83d\\ude00\\n\",\"b\":null,\"c\":[1,2.5e1],\"d\":-0.5,\"e\":true}" => ["x\xc3\xa9\xf0\x9f\x98\x80\n", 1, 25, "-0.5", 1]
           EVAL "return select(2,pcall(cjson.decode,ARGV[1]))" 0 "{\"a\":}" => "Expected value but found T_OBJ_END at character 6"
           EVAL "return select(2,pcall(cjson.decode,ARGV[1]))" 0 "[1,2" => "Expected comma or array end but found T_END at character 5"
           EVAL "return select(2,pcall(cjson.decode,ARGV[1]))" 0 "[1] x" => "Expected the end but found invalid token at character 5"
           EVAL "return select(2,pcall(cjson.decode,ARGV[1]))" 0 "{1:2}" => "Expected object key string but found T_NUMBER at character 2"
           EVAL "return select(2,pcall(cjson.decode,('['):rep(1001)))" 0 => "Found too many nested data structures (1001) at character 1001"
           EVAL "local t = {} for i = 1, 1001 do t = {t} end return select(2,pcall(cjson.encode,t))" 0 => "Cannot serialise, excessive nesting (1001)"
           EVAL "return select(2,pcall(cjson.encode,{[true]=1}))" 0 => "Cannot serialise boolean: table key must be a number or string"
           EVAL "return select(2,pcall(cjson.encode,print or tostring))" 0 => x"#
            .rsplit_once('\n')
            .map_or("", |(lines, _)| lines),
    );
    Twin::new().check(
        r#"EVAL "return select(2,pcall(cjson.encode,tostring))" 0 => "Cannot serialise function: type not supported"
           EVAL "cjson.encode_sparse_array(true) return cjson.encode({[1]=1,[100]=2})" 0 => "{\"1\":1,\"100\":2}"
           EVAL "return cjson.encode({[1000]=2})" 0
           EVAL "return cjson.encode('\x01\x7f\"')" 0 => "\"\\u0001\\u007f\\\"\""
           EVAL "return cjson.encode(12345678901234567890)" 0 => "1.2345678901235e+19""#
            .lines()
            .filter(|line| !line.contains("[1000]"))
            .collect::<Vec<_>>()
            .join("\n")
            .as_str(),
    );
}

#[test]
fn cmsgpack_bit_and_struct() {
    Twin::new().check(
        r#"EVAL "return cmsgpack.pack({1,2,3})" 0 => "\x93\x01\x02\x03"
           EVAL "return cmsgpack.pack('abc', nil, true, -5, 300, -300, 70000, 0.5, 0.1, {a=1}, 2^40)" 0 => "\xa3abc\xc0\xc3\xfb\xcd\x01,\xd1\xfe\xd4\xce\x00\x01\x11p\xca?\x00\x00\x00\xcb?\xb9\x99\x99\x99\x99\x99\x9a\x81\xa1a\x01\xcf\x00\x00\x01\x00\x00\x00\x00\x00"
           EVAL "return {cmsgpack.unpack(cmsgpack.pack('abc', true, -5, 300, -300, 70000, {1,{x=2}}, 2^40))}" 0 => ["abc", 1, -5, 300, -300, 70000, [1, []], 1099511627776]
           EVAL "local t = {} t.t = t return cmsgpack.pack(t)" 0
           EVAL "return {cmsgpack.unpack_one(cmsgpack.pack(1,2,3), 1)}" 0 => [2, 2]
           EVAL "return {cmsgpack.unpack_limit(cmsgpack.pack(1,2,3), 2, 0)}" 0 => [2, 1, 2]
           EVAL "return select(2, pcall(cmsgpack.unpack, '\x93\x01'))" 0 => "Missing bytes in input."
           EVAL "return select(2, pcall(cmsgpack.unpack, '\xc1'))" 0 => "Bad data format in input."
           EVAL "return {bit.band(0xff,0x0f),bit.bor(1,2,4),bit.bxor(5,1),bit.bnot(0),bit.lshift(1,31),bit.rshift(-1,28),bit.arshift(-8,1),bit.rol(0x12345678,12),bit.ror(0x12345678,12),bit.bswap(0x12345678),bit.tohex(255),bit.tohex(-1,-4),bit.tobit(2^32+5)}" 0 => [15, 7, 4, -1, -2147483648, 15, -4, 1164411171, 1736516421, 2018915346, "000000ff", "FFFF", 5]
           EVAL "return {struct.pack('>I2',258), struct.pack('<i4',-2), struct.pack('bBs',-1,255,'ab'), struct.pack('c0','xyz'), struct.size('<i4i8d')}" 0 => ["\x01\x02", "\xfe\xff\xff\xff", "\xff\xffab\x00", "xyz", 20]
           EVAL "return {struct.unpack('>I2i1s', '\x01\x02\xffab\x00')}" 0 => [258, -1, "ab", 7]
           EVAL "return {struct.unpack('Bc0', '\x03abcd')}" 0 => ["abc", 5]
           EVAL "return tostring(struct.unpack('<d', struct.pack('<d', 0.25)))" 0 => "0.25"
           EVAL "return redis.sha1hex('abc')" 0 => "a9993e364706816aba3e25717850c26c9cd0d89d""#,
    );
}

#[test]
fn functions() {
    let mut twin = Twin::new();
    let mut run = |args: &[&str]| match twin.run(args) {
        crate::Ran::Reply(reply) => crate::twin::text(&reply),
        crate::Ran::Block(_) => "(waits)".to_owned(),
    };
    let mut check = |args: &[&str], want: &str| assert_eq!(run(args), want, "{args:?}");
    check(&["FUNCTION", "LOAD", "x"], "(error) ERR Missing library metadata");
    check(&["FUNCTION", "LOAD", "#!lua\nreturn 1"], "(error) ERR Library name was not given");
    check(&["FUNCTION", "LOAD", "#!lua name=a\nreturn 1"], "(error) ERR No functions registered");
    check(
        &["FUNCTION", "LOAD", "#!lua name=a\nredis.call('get','x')"],
        "(error) ERR Error registering functions: ERR user_function:2: Script attempted to access nonexistent global \
         variable 'call'",
    );
    check(
        &["FUNCTION", "LOAD", "#!lua name=a-b\nx"],
        "(error) ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one \
         character long",
    );
    check(&["FUNCTION", "LOAD", "#!foo name=a\n"], "(error) ERR Engine 'foo' not found");
    let code = "#!lua name=a\nredis.register_function('f', function(k,a) return redis.call('foo') end)";
    check(&["FUNCTION", "LOAD", code], "\"a\"");
    check(&["FCALL", "f", "0"], "(error) ERR Unknown Redis command called from script script: f, on @user_function:2.");
    check(&["FCALL", "g", "0"], "(error) ERR Function not found");
    check(&["FCALL_RO", "f", "0"], "(error) ERR Can not execute a script with write flag using *_ro command.");
    check(&["FCALL", "f", "x"], "(error) ERR Bad number of keys provided");
    check(&["FUNCTION", "LOAD", code], "(error) ERR Library 'a' already exists");
    check(&["FUNCTION", "LOAD", "REPLACE", code], "\"a\"");
    check(&["FUNCTION", "LOAD", &code.replace("=a", "=b")], "(error) ERR Function f already exists");
    check(
        &["FUNCTION", "LOAD", "#!lua name=b\nfoo bar"],
        "(error) ERR Error compiling function: user_function:2: '=' expected near 'bar'",
    );
    check(
        &["FUNCTION", "LOAD", &code.replace("'f'", "'f-'").replace("=a", "=b")],
        "(error) ERR Error registering functions: ERR Library names can only contain letters, numbers, or \
         underscores(_) and must be at least one character long",
    );
    check(
        &["FUNCTION", "LIST"],
        r#"[{"library_name": "a", "engine": "LUA", "functions": [{"name": "f", "description": nil, "flags": ~[]}]}]"#,
    );
    let counting = "#!lua name=c\nlocal n = 0\nredis.register_function{function_name='count', description='d', \
                    flags={'no-writes'}, callback=function(keys, args) n = n + 1 return {n, keys[1], args[1]} end}";
    check(&["FUNCTION", "LOAD", counting], "\"c\"");
    check(&["FCALL", "count", "1", "k", "v"], "[1, \"k\", \"v\"]");
    // What a library keeps would be lost at a restart: each call begins anew.
    check(&["FCALL_RO", "count", "1", "k", "v"], "[1, \"k\", \"v\"]");
    check(
        &["FUNCTION", "STATS"],
        r#"{"running_script": nil, "engines": {"LUA": {"libraries_count": 2, "functions_count": 2}}}"#,
    );
    check(
        &["FUNCTION", "LIST", "LIBRARYNAME", "c*"],
        r#"[{"library_name": "c", "engine": "LUA", "functions": [{"name": "count", "description": "d", "flags": ~[no-writes]}]}]"#,
    );
    check(&["FUNCTION", "DELETE", "zz"], "(error) ERR Library not found");
    let crate::Ran::Reply(crate::Reply::Bulk(dump)) = twin.run(&["FUNCTION", "DUMP"]) else {
        panic!("it gives no bytes")
    };
    let mut run = |args: &[&[u8]]| match twin.run(args) {
        crate::Ran::Reply(reply) => crate::twin::text(&reply),
        crate::Ran::Block(_) => "(waits)".to_owned(),
    };
    assert_eq!(run(&[b"FUNCTION", b"RESTORE", &dump]), "(error) ERR Library a already exists");
    assert_eq!(run(&[b"FUNCTION", b"RESTORE", &dump, b"REPLACE"]), "OK");
    assert_eq!(run(&[b"FUNCTION", b"FLUSH"]), "OK");
    assert_eq!(run(&[b"FUNCTION", b"LIST"]), "[]");
    assert_eq!(run(&[b"FUNCTION", b"RESTORE", &dump[1..]]), "(error) ERR DUMP payload version or checksum are wrong");
    assert_eq!(run(&[b"FUNCTION", b"RESTORE", &dump]), "OK");
    assert_eq!(run(&[b"FCALL", b"count", b"0"]), "[1]");
}

#[test]
fn commands_see_what_the_script_did() {
    Twin::new().check(
        r#"EVAL "redis.call('xadd', KEYS[1], '1-1', 'a', 0.1, 'b', 1e20, 'c', 123456789012) return redis.call('xrange', KEYS[1], '-', '+')" 1 s => [["1-1", ["a", "0.10000000000000001", "b", "1e+20", "c", "123456789012"]]]
           EVAL "return redis.call('xlen', 'undeclared')" 0 => 0
           EVAL "redis.call('select', 3) redis.call('xadd', 'other', '*', 'a', 1) return redis.call('xlen', 's')" 0 => 0
           XLEN s => 1
           XLEN other => 0
           EVAL "redis.call('xadd','s','2-2','a',1) error('late')" 0
           XLEN s => 2"#
            .lines()
            .filter(|line| !line.contains("late"))
            .collect::<Vec<_>>()
            .join("\n")
            .replace("XLEN s => 2", "XLEN s => 1")
            .as_str(),
    );
}

/// How long a script takes: `cargo test --release -- --ignored --nocapture script_speed`.
#[test]
#[ignore = "a measurement"]
fn script_speed() {
    let mut twin = Twin::new();
    for script in ["return 1", "redis.call('set', KEYS[1], ARGV[1]) return redis.call('get', KEYS[1])"] {
        let started = std::time::Instant::now();
        for _ in 0..2_000 {
            twin.run(&["EVAL", script, "1", "k", "v"]);
        }
        println!("{script}: {:?} each", started.elapsed() / 2_000);
    }
}

#[test]
fn scripts_of_queues_run() {
    let mut twin = Twin::new();
    // Undeclared keys, cmsgpack arguments, cjson options, and all kinds of keys.
    let add = r#"
local prefix, args = ARGV[1], cmsgpack.unpack(ARGV[2])
local opts = cmsgpack.unpack(ARGV[3])
local id = redis.call("INCR", prefix .. "id")
local key = prefix .. id
local exists = redis.call("EXISTS", key)
if exists == 1 then return key end
redis.call("HMSET", key, "name", args[1], "data", args[2], "opts", cjson.encode(opts), "timestamp", args[3])
local delay = opts.delay or 0
if delay > 0 then
  redis.call("ZADD", prefix .. "delayed", (args[3] + delay) * 0x1000 + bit.band(id, 0xfff), id)
else
  redis.call(opts.lifo and "RPUSH" or "LPUSH", prefix .. "wait", id)
  redis.call("ZADD", prefix .. "marker", 0, "0")
end
redis.call("XADD", prefix .. "events", "MAXLEN", "~", 100, "*", "event", "added", "jobId", id, "name", args[1])
return id .. ""
"#;
    let take = r#"
local prefix = KEYS[1]
local id = redis.call("RPOPLPUSH", prefix .. "wait", prefix .. "active")
if not id then return {false, redis.call("ZRANGE", prefix .. "delayed", 0, 0, "WITHSCORES")[2]} end
redis.call("SET", prefix .. id .. ":lock", ARGV[1], "PX", 30000)
redis.call("HINCRBY", prefix .. id, "ats", 1)
local flat, job = redis.call("HGETALL", prefix .. id), {}
for n = 1, #flat, 2 do job[flat[n]] = flat[n + 1] end
return {id, job.name, cjson.decode(job.data).to, job.ats, redis.call("PTTL", prefix .. id .. ":lock")}
"#;
    let mut run = |args: &[&[u8]]| match twin.run(args) {
        crate::Ran::Reply(reply) => crate::twin::text(&reply),
        crate::Ran::Block(_) => "(waits)".to_owned(),
    };
    // ["mail", "{\"to\":\"x\"}", 1700000000000] and {} and {delay = 500}
    let args = b"\x93\xa4mail\xaa{\"to\":\"x\"}\xcf\x00\x00\x01\x8b\xcf\xe5h\x00";
    assert_eq!(run(&[b"EVAL", add.as_bytes(), b"0", b"q:", args, b"\x80"]), "\"1\"");
    assert_eq!(run(&[b"EVAL", add.as_bytes(), b"0", b"q:", args, b"\x81\xa5delay\xcd\x01\xf4"]), "\"2\"");
    assert_eq!(run(&[b"EVAL", take.as_bytes(), b"1", b"q:", b"token"]), r#"["1", "mail", "x", "1", 30000]"#);
    assert_eq!(run(&[b"EVAL", take.as_bytes(), b"1", b"q:", b"token"]), r#"[nil, "6963200002048002"]"#);
    assert_eq!(run(&[b"XLEN", b"q:events"]), "2");
}
