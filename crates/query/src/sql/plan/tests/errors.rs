//! What is refused, and with which SQLSTATE.

use super::Fixture;

#[test]
fn refusals_carry_postgresqls_states() {
    let fixture = Fixture::new();
    for (sql, code) in [
        ("select * from nothing", "42P01"),
        ("select * from nothing.t", "42P01"),
        ("select nothing from pairs", "42703"),
        ("select nothing from pairs where a = 1 and b = 'x'", "42703"),
        ("select x.a from pairs", "42P01"),
        ("select nothing(1)", "42883"),
        ("select a, count(*) from pairs", "42803"),
        ("update nothing set a = 1", "42P01"),
        ("update pairs set nothing = 1", "42703"),
        ("update pairs set a = 1, a = 2", "42601"),
        ("update pairs set a = true where a = 1 and b = 'x'", "42804"),
        ("update cheap set missing = 'x'", "42703"),
        ("insert into nothing values (1)", "42P01"),
        ("insert into pairs (nothing) values (1)", "42703"),
        ("insert into pairs (a, a) values (1, 2)", "42701"),
        ("insert into pairs (a) values (1, 2)", "42601"),
        ("insert into pairs (a, b) values (1)", "42601"),
        ("insert into pairs values (1, 'x', 2, 'd', 5)", "42601"),
        ("insert into pairs values (1), (1, 2)", "42601"),
        ("insert into pairs values (true, 'x')", "42804"),
        ("insert into pairs select true, 'x'", "42804"),
        ("insert into pairs (a, b) select tid, bid, tid from pgbench_tellers", "42601"),
        ("insert into pairs values (1, 'x') on conflict (a) do nothing", "42P10"),
        ("insert into pairs values (1, 'x') on conflict (a, b) do update set c = c + 1", "42702"),
        ("insert into pairs values (1, 'x') on conflict do update set c = 1", "42601"),
        ("select * from pairs where a = $0", "42P02"),
        ("create table t (a int references nowhere)", "42P01"),
        ("create table t (a nothing)", "42704"),
        ("create table t (a int, a int)", "42701"),
        ("create table t (a int primary key, b int primary key)", "42P16"),
        ("create table t (a int, primary key (b))", "42703"),
        ("create table t (a int check (b > 0))", "42703"),
        ("create table t (a int default 'x')", "22P02"),
        ("create table t (a int default true)", "42804"),
        ("create table t (a int) with (nothing = 1)", "22023"),
        ("create table nothing.t (a int)", "3F000"),
        ("create unique index on pairs using gin (a)", "0A000"),
        ("create index on pairs (nothing)", "42703"),
        ("alter table nothing add column a int", "42P01"),
        ("alter table pairs drop column nothing", "42703"),
        ("drop tablespace x", "0A000"),
        ("do $$ $$", "42601"),
        ("do $$ declare a int; begin null; end $$", "0A000"),
        ("merge into pairs using nothing on true when matched then delete", "42P01"),
        ("copy nothing from stdin", "42P01"),
        ("copy pairs (nothing) from stdin", "42703"),
        ("copy pairs from 'x.csv'", "0A000"),
        ("copy pairs from stdin with (format csv, delimiter '||')", "0A000"),
        ("select * from pairs for update of nothing", "42P01"),
        ("select a from pairs union select 1 for update", "0A000"),
        ("vacuum nothing", "42P01"),
        ("truncate nothing", "42P01"),
    ] {
        match fixture.plan(sql) {
            Ok(prepared) => panic!("{sql}: {:?}", prepared.plan),
            Err(error) => assert_eq!(error.state().code(), code, "{sql}: {error}"),
        }
    }
}
