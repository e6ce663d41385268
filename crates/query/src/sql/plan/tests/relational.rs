//! Queries: names and types of results, parameters, writes.

use perigee_plan::Plan;
use perigee_plan::relational::WriteKind;
use perigee_types::SqlType::{
    self, Bool, Date, Float8, Int2, Int4, Int8, JsonPath, Jsonb, Numeric, Text, Timestamptz, Uuid,
};

use super::Fixture;

#[test]
fn results_have_postgresqls_names() {
    let fixture = Fixture::new();
    for (sql, want) in [
        ("select 1", "?column?"),
        ("select 1, 2, 1", "?column?,?column?,?column?"),
        ("select count(*), sum(abalance), count(*) from pgbench_accounts", "count,sum,count"),
        ("select abalance a, max(bid) as \"B\" from pgbench_accounts group by 1", "a,B"),
        ("select aid::text, cast(1 as bigint), '5'::int from pgbench_accounts", "aid,int8,int4"),
        (
            "select case when true then 1 end, coalesce(1, 2), extract(year from day) from things",
            "case,coalesce,extract",
        ),
        ("select case when true then 1 else aid end from pgbench_accounts", "aid"),
        ("select upper(name), -id, id + 1 from things", "upper,?column?,?column?"),
        ("select *, id from things where name = ''", "id,name,price,tags,at,ok,note,ratio,small,day,key,id"),
        ("select t.id, t.* from things t", "id,id,name,price,tags,at,ok,note,ratio,small,day,key"),
        ("values (1, 'a')", "column1,column2"),
        ("select 1 as a union select 2 as b", "a"),
        ("select * from cheap", "id,label"),
        ("with x as (select id as y from things) select * from x", "y"),
        ("select (select max(id) from things)", "max"),
        ("select exists (select 1 from things), not exists (select 1 from things)", "exists,?column?"),
        ("select (day, day) overlaps (day, day) from things", "overlaps"),
        ("select count(*) from things order by count", "count"),
        ("table pairs", "a,b,c,d"),
        ("select true, now()", "?column?,now"),
    ] {
        match fixture.plan(sql) {
            Ok(prepared) => {
                let names: Vec<_> = prepared.columns.iter().flat_map(|c| c.iter().map(|c| c.name.clone())).collect();
                assert_eq!(names.join(","), want, "{sql}");
            }
            Err(error) => panic!("{sql}: {error}"),
        }
    }
}

#[test]
fn results_have_types_and_sources() {
    let fixture = Fixture::new();
    let check = |sql: &str, types: &[SqlType], sources: &[bool]| {
        let prepared = fixture.plan(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let columns = prepared.columns.clone().unwrap();
        assert_eq!(columns.iter().map(|c| c.ty.clone()).collect::<Vec<_>>(), types, "{sql}");
        assert_eq!(columns.iter().map(|c| c.source.is_some()).collect::<Vec<_>>(), sources, "{sql}");
    };
    check("select id, name, price from things where id > 5", &[Int8, Text, Numeric(Some((10, 2)))], &[true; 3]);
    check("select c.label from cheap c", &[Text], &[true]);
    check("select count(*), min(day) from things", &[Int8, Date], &[false; 2]);
    check("select x.b, y.tbalance from pairs x join pgbench_tellers y on x.a = y.tid", &[Text, Int4], &[true; 2]);
    check("select bid, count(*) from pgbench_accounts group by bid", &[Int4, Int8], &[true, false]);
    check("select sum(ratio), bool_and(ok), max(at) from things", &[Float8, Bool, Timestamptz(None)], &[false; 3]);
}

#[test]
fn parameters_of_queries_are_inferred() {
    let fixture = Fixture::new();
    for (sql, want) in [
        ("select * from things where id > $1 and name like $2", vec![Int8, Text]),
        ("select * from things where id > $1 limit $2 offset $3", vec![Int8, Int8, Int8]),
        ("select $1::date, $2", vec![Date, Text]),
        ("select * from things where day between $1 and $2", vec![Date, Date]),
        ("select * from things where id in ($1, $2)", vec![Int8, Int8]),
        ("insert into things (name, ratio) select $1, $2", vec![Text, Float8]),
        ("insert into things (name, ratio) values (upper($1), $2)", vec![Text, Float8]),
        ("update things set ratio = $1, ok = $2 where name = $3", vec![Float8, Bool, Text]),
        ("delete from things where day < $1", vec![Date]),
    ] {
        let prepared = fixture.plan(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(prepared.parameters, want, "{sql}");
    }
}

#[test]
fn parameters_beside_arrays_json_and_choices_are_inferred() {
    let fixture = Fixture::new();
    let list = |of: SqlType| SqlType::Array(Box::new(of));
    for (sql, want) in [
        ("select * from things where key = any($1)", vec![list(Uuid)]),
        ("select * from things where at = any($1) and id <> all($2)", vec![list(Timestamptz(None)), list(Int8)]),
        ("select * from things where $1 = any(tags) and id = $2", vec![Text, Int8]),
        ("select name like any($1) from things", vec![list(Text)]),
        ("select array_append(tags, $1), array_cat($2, tags) from things", vec![Text, list(Text)]),
        ("update things set tags = array_remove(tags, $1), small = small + $2 where key = $3", vec![Text, Int2, Uuid]),
        ("select array_position(array_agg(id), $1) from things", vec![Int8]),
        ("select tags || $1, $2 || tags, tags[$3] from things", vec![list(Text), list(Text), Int4]),
        ("select note @> $1, note || $2, note - $3 from things", vec![Jsonb, Jsonb, Text]),
        ("select note @? $1, note @@ $2, note -> $3 from things", vec![JsonPath, JsonPath, Text]),
        ("select jsonb_set(note, $1, $2), jsonb_array_length($3) from things", vec![list(Text), Jsonb, Jsonb]),
        ("select coalesce($1, id), greatest(day, $2), nullif($3, 1) from things", vec![Int8, Date, Int4]),
        ("select case when $1 then id else $2 end, case id when $3 then 1 end from things", vec![Bool, Int8, Int8]),
        ("select left(name, $1), split_part(name, $2, $3) from things", vec![Int4, Text, Int4]),
        ("select id from things where $1 or id in (1, 2)", vec![Bool]),
        ("select $1 in (1, 2), $2 between 1 and 2, array[id, $3] from things", vec![Int4, Int4, Int8]),
        ("select id from things union all select $1", vec![Int8]),
        ("select generate_series(1, $1)", vec![Int4]),
        ("select lag(name, $1) over (order by id), ntile($2) over (order by id) from things", vec![Int4, Int4]),
        ("update things set ratio = $1 where name = $2 returning id + $3", vec![Float8, Text, Int8]),
    ] {
        let prepared = fixture.plan(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(prepared.parameters, want, "{sql}");
    }
}

#[test]
fn writes_say_what_their_source_yields() {
    let fixture = Fixture::new();
    let check = |sql: &str, kind: WriteKind, width: usize, returning: Option<&str>| {
        let prepared = fixture.plan(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let Plan::Write(write) = &prepared.plan else { panic!("{sql}: {:?}", prepared.plan) };
        assert_eq!(write.kind, kind, "{sql}");
        assert_eq!(write.source.logical.schema().fields().len(), width, "{sql}");
        let names = prepared
            .columns
            .as_ref()
            .map(|columns| columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(","));
        assert_eq!(names.as_deref(), returning, "{sql}");
    };
    check("update pairs set c = c + 1, a = 2", WriteKind::Update { assigned: vec![2, 0] }, 7, None);
    check(
        "update pairs p set d = t.filler from pgbench_tellers t where t.tid = p.a",
        WriteKind::Update { assigned: vec![3] },
        6,
        None,
    );
    check(
        "delete from pairs using pgbench_tellers t where t.tid = a returning a, upper(b)",
        WriteKind::Delete,
        5,
        Some("a,upper"),
    );
    check("delete from pairs where a in (select tid from pgbench_tellers)", WriteKind::Delete, 5, None);
    check(
        "insert into pairs (b, a) select name, id::int from things returning *",
        WriteKind::Insert { on_conflict: None },
        4,
        Some("a,b,c,d"),
    );
    check("insert into things (name) select b from pairs", WriteKind::Insert { on_conflict: None }, 11, None);
    check(
        "insert into pgbench_tellers (tid) select 1 from things on conflict do nothing",
        WriteKind::Insert {
            on_conflict: Some(perigee_plan::relational::OnConflict {
                arbiters: Vec::new(),
                action: perigee_plan::relational::ConflictAction::Nothing,
            }),
        },
        4,
        None,
    );
}

#[test]
fn rows_are_locked_by_their_hidden_columns() {
    let fixture = Fixture::new();
    for (sql, width, shown) in [
        ("select * from pairs where a > 1 for update", 6, 4),
        ("select a from pairs p where a > 1 for update skip locked", 3, 1),
        ("select p.a, t.tid from pairs p join pgbench_tellers t on t.tid = p.a for share of p", 4, 2),
    ] {
        let prepared = fixture.plan(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let Plan::Query(query) = &prepared.plan else { panic!("{sql}") };
        assert!(query.row_lock.is_some(), "{sql}");
        assert_eq!(query.logical.schema().fields().len(), width, "{sql}");
        assert_eq!(prepared.columns.as_ref().unwrap().len(), shown, "{sql}");
    }
}
