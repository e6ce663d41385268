use super::*;

/// What a text parses to: the statements' own texts, or the error's code, message and position.
fn check(sql: &str, want: Result<&[&str], (&str, &str, Option<u32>)>) {
    let got = parse(sql).map(|list| list.iter().map(|s| s.text.to_string()).collect::<Vec<_>>());
    match (got, want) {
        (Ok(got), Ok(want)) => assert_eq!(got, want, "{sql}"),
        (Err(e), Err((code, message, position))) => {
            assert_eq!((e.state().code(), e.message(), e.fields().position), (code, message, position), "{sql}");
        }
        (got, want) => panic!("{sql}: {got:?}, not {want:?}"),
    }
}

#[test]
fn texts_are_split_into_statements() {
    check("", Ok(&[]));
    check(" ;; -- nothing\n /* here */ ; ", Ok(&[]));
    check("select 1", Ok(&["select 1"]));
    check("select 1; select ';' ;", Ok(&["select 1", "select ';'"]));
    check("  select 'ä;' -- x\n; commit", Ok(&["select 'ä;'", "commit"]));
    check("select $$a;b$$;select e'\\';'", Ok(&["select $$a;b$$", "select e'\\';'"]));
    check("do $$ begin null; end $$; vacuum", Ok(&["do $$ begin null; end $$", "vacuum"]));
}

#[test]
fn errors_name_their_place() {
    check("selec 1", Err(("42601", "syntax error at or near \"selec\"", Some(1))));
    check("select 1; select 2 frm t x", Err(("42601", "syntax error at or near \"t\"", Some(24))));
    check("select 'ä' from", Err(("42601", "syntax error at end of input", Some(16))));
    check("insert into t values (1", Err(("42601", "syntax error at end of input", Some(24))));
    check("begin foo", Err(("42601", "syntax error at or near \"foo\"", Some(7))));
    check("set x", Err(("42601", "syntax error at end of input", Some(6))));
    let nameless = "zero-length delimited identifier at or near \"\"\"\"";
    check("create table \"\" ()", Err(("42601", nameless, Some(14))));
    check("select 1 as \"\"", Err(("42601", nameless, Some(13))));
    check("select 'abc", Err(("42601", "unterminated quoted string at or near \"'abc\"", Some(8))));
}

#[test]
fn every_command_is_known() {
    for sql in [
        "begin isolation level serializable, read only",
        "start transaction read write",
        "commit and chain",
        "end",
        "abort",
        "rollback to savepoint a",
        "savepoint a",
        "release a",
        "prepare transaction 'x'",
        "set search_path to a, \"B\"",
        "set local x.y = 5",
        "set time zone 'UTC'",
        "set time zone default",
        "set session characteristics as transaction isolation level read committed",
        "set transaction isolation level repeatable read",
        "set names 'utf8'",
        "show all",
        "show transaction isolation level",
        "show time zone",
        "reset all",
        "discard all",
        "prepare p (int, text) as select $1, $2",
        "execute p(1, 'a')",
        "deallocate prepare all",
        "copy t from stdin",
        "copy t (a, b) to stdout with (format csv, header, delimiter '|')",
        "copy t from stdin with (format csv, freeze on)",
        "COPY t FROM STDIN csv header delimiter '|' null ''",
        "copy (select 1) to stdout with binary",
        "explain select 1",
        "explain (analyze, verbose, format json) select 1",
        "explain analyze verbose update t set a = 1",
        "vacuum",
        "vacuum (full, analyze) t",
        "vacuum full freeze verbose analyze t (a)",
        "vacuum analyze pgbench_branches",
        "analyze verbose t",
        "checkpoint",
        "table t",
        "select * from (table t) x union table u",
        "create unlogged table t (a int)",
        "create table t as select 1 with no data",
        "create table t (a int) with (fillfactor=100)",
        "create table t (a serial primary key, b numeric(10, 2) default 0 not null check (b > 0), unique (b))",
        "alter table t add primary key (a)",
        "alter table t attach partition u for values from (1) to (2)",
        "truncate table a, b restart identity",
        "create index concurrently if not exists i on t using btree (a, b)",
        "comment on column t.a is 'x'",
        "lock table t",
        "reindex table t",
        "alter system set x = 1",
        "move 5 in c",
        "create role r",
        "listen x",
        "drop table if exists a, b cascade",
        "select a from t for update skip locked",
        "insert into t (a) values ($1), (default) on conflict do nothing returning *",
    ] {
        if let Err(error) = parse(sql) {
            panic!("{sql}: {error}");
        }
    }
}

#[test]
fn settings_keep_their_values() {
    let check = |sql: &str, want_name: &str, want: Option<&str>| match parse(sql).unwrap().remove(0).ast {
        Ast::Session(perigee_plan::SessionCommand::Set { name, value, .. }) => {
            assert_eq!((name.as_str(), value.as_deref()), (want_name, want), "{sql}");
        }
        other => panic!("{sql}: {other:?}"),
    };
    check("set Search_Path = Public, \"My Schema\"", "search_path", Some("public, \"My Schema\""));
    check("set datestyle to iso, MDY", "datestyle", Some("iso, mdy"));
    check("set x = -1.5", "x", Some("-1.5"));
    check("set work_mem = '64MB'", "work_mem", Some("64MB"));
    check("set x to default", "x", None);
    check("set time zone 'Europe/Berlin'", "timezone", Some("Europe/Berlin"));
    check("set schema 'a'", "search_path", Some("a"));
}

#[test]
fn deep_nesting_is_an_error() {
    let deep = format!("select {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert_eq!(parse(&deep).unwrap_err().state(), SqlState::StatementTooComplex);
    let nots = format!("select {} true", "not ".repeat(5_000));
    assert_eq!(parse(&nots).unwrap_err().state(), SqlState::StatementTooComplex);
}

/// Cut and spliced statements neither panic nor hang.
#[test]
fn garbage_is_refused_without_a_panic() {
    let seeds = [
        "select a, b::numeric(10,2) from \"T\" where x = 'ä''b' and y in (1, 2) order by 1 limit $1",
        "copy t (a) from stdin with (format csv, force_quote *, delimiter e'\\t')",
        "explain (analyze on, format 'json') select $$x$$",
        "prepare p(int) as update t set a = -1 where b = 2 returning *",
        "set time zone interval '1' hour to minute",
        "create table t (a int default 1 check (a > 0), primary key (a)) with (fillfactor = 10)",
        "vacuum (analyze false, parallel 3) a, b (c)",
    ];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for _ in 0..3_000 {
        let (a, b) = (seeds[next(seeds.len())], seeds[next(seeds.len())]);
        let words_a: Vec<_> = a.split_inclusive([' ', '(', ',', '\'']).collect();
        let words_b: Vec<_> = b.split_inclusive([' ', '(', ',', '\'']).collect();
        let (cut_a, cut_b) = (next(words_a.len()), next(words_b.len()));
        let spliced = [words_a[..cut_a].concat(), words_b[cut_b..].concat()].concat();
        let _ = parse(&spliced);
    }
}
