//! DDL, COPY, sessions.

use perigee_plan::command::CopyKind;
use perigee_plan::ddl::SequenceColumn;
use perigee_plan::{Copy, Ddl, Plan, SessionCommand};
use perigee_types::{SqlType, Value};

use super::Fixture;

#[test]
fn columns_are_defined_as_written() {
    let fixture = Fixture::new();
    let prepared = fixture
        .plan(
            "create table if not exists t (a serial primary key, b varchar(10) not null default 'x', \
             c numeric(15,2) check (c > 0), d timestamptz default now(), e int generated always as identity, \
             f text[], g char, unique (b, c)) with (fillfactor=90)",
        )
        .unwrap();
    let Plan::Ddl(Ddl::CreateTable { columns, keys, checks, options, if_not_exists, .. }) = &prepared.plan else {
        panic!()
    };
    assert!(if_not_exists);
    let types: Vec<_> = columns.iter().map(|c| c.ty.to_string()).collect();
    assert_eq!(
        types.join(", "),
        "integer, character varying(10), numeric(15,2), timestamp with time zone, integer, text[], character(1)"
    );
    assert_eq!(columns[0].sequence, Some(SequenceColumn::Serial));
    assert_eq!(columns[4].sequence, Some(SequenceColumn::IdentityAlways));
    assert_eq!(columns[1].default_value, Some(Value::Text("x".into())));
    assert_eq!((columns[3].default.as_deref(), &columns[3].default_value), (Some("now()"), &None));
    assert!(columns[0].not_null && columns[1].not_null && !columns[2].not_null);
    assert_eq!(keys.len(), 2);
    assert_eq!(checks[0].expression, "c > 0");
    assert_eq!(options["fillfactor"], "90");
    assert_eq!(prepared.tag, "CREATE TABLE");
}

#[test]
fn create_table_as_takes_the_querys_columns() {
    let fixture = Fixture::new();
    let prepared = fixture.plan("create table t (x) as select aid, abalance as y from pgbench_accounts").unwrap();
    let Plan::Ddl(Ddl::CreateTable { columns, source, with_data, .. }) = &prepared.plan else { panic!() };
    assert_eq!(columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(columns[0].ty, SqlType::Int4);
    assert!(source.is_some() && *with_data);
    let prepared = fixture.plan("create table t as table pairs with no data").unwrap();
    assert!(matches!(&prepared.plan, Plan::Ddl(Ddl::CreateTable { with_data: false, .. })));
}

#[test]
fn views_keep_qualified_names() {
    let fixture = Fixture::new();
    let prepared = fixture.plan("create or replace view v (x) as select a from pairs p").unwrap();
    let Plan::Ddl(Ddl::CreateView { columns, query, depends_on, replace, .. }) = &prepared.plan else { panic!() };
    assert!(*replace);
    assert_eq!(query, "SELECT a FROM \"public\".\"pairs\" p");
    assert_eq!(columns, &[("x".to_owned(), SqlType::Int4)]);
    assert_eq!(depends_on.len(), 1);
}

#[test]
fn copy_knows_both_option_lists() {
    let fixture = Fixture::new();
    let format = |sql: &str| match fixture.plan(sql).unwrap_or_else(|e| panic!("{sql}: {e}")).plan.clone() {
        Plan::Copy(Copy::FromStdin { columns, format, .. }) => (columns, format),
        Plan::Copy(Copy::ToStdout { columns, format, .. }) => ((0..columns.len()).collect(), format),
        other => panic!("{sql}: {other:?}"),
    };
    for sql in [
        "copy pairs (b, a) from stdin with (format csv, header true, delimiter '|', null 'n', force_not_null (a))",
        "COPY  pairs ( b, a ) FROM STDIN WITH csv header delimiter as '|' null as 'n' force not null a",
    ] {
        let (columns, format) = format(sql);
        assert_eq!(columns, [1, 0], "{sql}");
        assert_eq!((format.kind, format.header, format.delimiter), (CopyKind::Csv, true, b'|'), "{sql}");
        assert_eq!((format.null.as_str(), format.force_not_null), ("n", vec![1]), "{sql}");
    }
    let (columns, plain) = format("copy pgbench_accounts from stdin with (freeze on)");
    assert_eq!((columns.len(), plain.kind, plain.delimiter, plain.null.as_str()), (4, CopyKind::Text, b'\t', "\\N"));
    let (columns, _) = format("copy (select a, b from pairs where a = 1) to stdout");
    assert_eq!(columns.len(), 2);
    let error = fixture.plan("copy cheap to stdout with (format csv)").unwrap_err();
    assert_eq!(error.state().code(), "42809", "PostgreSQL copies from tables only: {error}");
}

#[test]
fn sessions_prepare_and_execute() {
    let fixture = Fixture::new();
    let prepared = fixture.plan("prepare p (int, unknown) as select $1, $2 from pairs").unwrap();
    let Plan::Session(SessionCommand::Prepare { name, parameters, statement }) = &prepared.plan else { panic!() };
    assert_eq!((name.as_str(), &**statement), ("p", "select $1, $2 from pairs"));
    assert_eq!(parameters, &[Some(SqlType::Int4), None]);
    let prepared = fixture.plan("execute p (1 + 1, 'x', -2.5, null)").unwrap();
    let Plan::Session(SessionCommand::Execute { parameters, .. }) = &prepared.plan else { panic!() };
    assert_eq!(parameters, &[Value::Int4(2), Value::Text("x".into()), Value::Numeric(-25, 1), Value::Null]);
}

#[test]
fn explain_wraps_a_plan() {
    let prepared = Fixture::new().plan("explain (analyze, verbose) select * from pairs where a = $1").unwrap();
    let Plan::Explain(explain) = &prepared.plan else { panic!() };
    assert!(explain.analyze && explain.verbose && !explain.json);
    assert_eq!(prepared.parameters, [SqlType::Int4]);
}
