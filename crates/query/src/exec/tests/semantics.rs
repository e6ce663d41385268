//! PostgreSQL's semantics: expressions and what PostgreSQL answers.

use perigee_types::{SqlType, Value};

use super::Fixture;

#[test]
fn literals() {
    Fixture::new().check_all(&[
        ("1", "1"),
        ("pg_typeof(1)", "integer"),
        ("pg_typeof(3000000000)", "bigint"),
        ("pg_typeof(99999999999999999999)", "numeric"),
        ("1.50", "1.50"),
        ("pg_typeof(1.5)", "numeric"),
        ("'a'", "a"),
        ("NULL", "NULL"),
        ("true", "t"),
        ("-5", "-5"),
        ("- (5)", "-5"),
        ("VALUES (1, 'a'), (2, 'b')", "1|a\n2|b"),
        ("pg_typeof('a'::text)", "text"),
    ]);
}

#[test]
fn integers_are_checked() {
    Fixture::new().check_all(&[
        ("2147483647 + 1", "22003: integer out of range"),
        ("2147483647::int8 + 1", "2147483648"),
        ("9223372036854775807 + 1", "22003: bigint out of range"),
        ("32767::int2 + 1::int2", "22003: smallint out of range"),
        ("pg_typeof(1 + 1::int8)", "bigint"),
        ("-2147483648 - 1", "22003: integer out of range"),
        ("100000 * 100000", "22003: integer out of range"),
        ("7 / 2", "3"),
        ("-7 / 2", "-3"),
        ("-7 % 3", "-1"),
        ("1 / 0", "22012: division by zero"),
        ("1 % 0", "22012: division by zero"),
        ("1.0 / 0", "22012: division by zero"),
        ("1::float8 / 0", "22012: division by zero"),
        ("1 + '2'", "3"),
        ("1 + 'x'", "22P02: invalid input syntax for type integer: \"x\""),
        ("'1' + '2'", "42725: operator is not unique: unknown + unknown"),
        ("2 ^ 10", "1024"),
        ("5 & 3", "1"),
        ("abs(-5)", "5"),
        ("mod(7, 4)", "3"),
        ("1 + true", "42883: operator does not exist: integer + boolean"),
        ("'a'::text + 1", "42883: operator does not exist: text + integer"),
    ]);
}

#[test]
fn numerics_are_exact() {
    Fixture::new().check_all(&[
        ("1.10 + 2.20", "3.30"),
        ("0.1 + 0.2 = 0.3", "t"),
        ("1.5 * 2", "3.0"),
        ("1 / 3.0", "0.33333333333333333333"),
        ("10.0 / 4", "2.5000000000000000"),
        ("7.0 / 2", "3.5000000000000000"),
        ("10000000.0 / 3", "3333333.333333333333"),
        ("7.5 % 2", "1.5"),
        ("round(2.5)", "3"),
        ("round(-2.5)", "-3"),
        ("round(3.14159, 2)", "3.14"),
        ("round(1.5, 3)", "1.500"),
        ("round(1234.5, -2)", "1200"),
        ("trunc(2.9)", "2"),
        ("trunc(2.999, 1)", "2.9"),
        ("ceil(2.1)", "3"),
        ("floor(-2.1)", "-3"),
        ("2.5::int", "3"),
        ("3.5::int", "4"),
        ("2.5::float8::int", "2"),
        ("'1.25'::numeric(5,1)", "1.3"),
        ("123.456::numeric(5,2)", "123.46"),
        ("1234.5::numeric(5,2)", "22003:"),
        ("3000000000::int4", "22003: integer out of range"),
        ("1e3", "1000"),
        ("1.5::float8", "1.5"),
        ("0.1::float8 + 0.2::float8", "0.30000000000000004"),
        ("sqrt(-1)", "2201F:"),
        ("ln(0)", "2201E:"),
        ("width_bucket(5.35, 0.024, 10.06, 5)", "3"),
        ("div(9, 4)", "2"),
    ]);
}

#[test]
fn aggregates_have_postgresqls_types() {
    let mut fixture = Fixture::new();
    let columns = [
        ("id", SqlType::Int4),
        ("small", SqlType::Int2),
        ("big", SqlType::Int8),
        ("price", SqlType::Numeric(Some((15, 2)))),
        ("ratio", SqlType::Float8),
        ("name", SqlType::Text),
    ];
    let table = fixture.table("t", &columns);
    let rows = (1..=4)
        .map(|i| {
            vec![
                Value::Int4(i),
                Value::Int2(i as i16),
                Value::Int8(i64::MAX - 10),
                Value::Numeric(i128::from(i) * 150, 2),
                Value::Float8(f64::from(i) / 2.0),
                if i == 4 { Value::Null } else { Value::Text(format!("n{i}")) },
            ]
        })
        .collect();
    fixture.insert(&table, rows);
    fixture.check_all(&[
        ("SELECT sum(id), pg_typeof(sum(id)) FROM t", "10|bigint"),
        ("SELECT sum(big), pg_typeof(sum(big)) FROM t", "36893488147419103188|numeric"),
        ("SELECT avg(id) FROM t", "2.5000000000000000"),
        ("SELECT avg(price) FROM t", "3.7500000000000000"),
        ("SELECT avg(id) + 1 FROM t WHERE id > 100", "NULL"),
        ("SELECT sum(price) FROM t", "15.00"),
        ("SELECT avg(ratio), sum(ratio) FROM t", "1.25|5"),
        ("SELECT count(*), count(name), pg_typeof(count(*)) FROM t", "4|3|bigint"),
        ("SELECT sum(id) FILTER (WHERE id > 2), avg(DISTINCT small % 2) FROM t", "7|0.50000000000000000000"),
        ("SELECT string_agg(name, ',' ORDER BY name DESC) FROM t", "n3,n2,n1"),
        ("SELECT array_agg(id ORDER BY id) FROM t", "{1,2,3,4}"),
        ("SELECT bool_and(id > 0), bool_or(id > 3), every(id > 1) FROM t", "t|t|f"),
        ("SELECT min(name), max(name) FROM t", "n1|n3"),
        ("SELECT id % 2, sum(price) FROM t GROUP BY id % 2 HAVING avg(id) > 2 ORDER BY 1", "0|9.00"),
        ("SELECT id, row_number() OVER (ORDER BY id DESC) FROM t ORDER BY id LIMIT 1", "1|4"),
        (
            "SELECT id, sum(id) OVER (ORDER BY id), avg(id) OVER (ORDER BY id) FROM t ORDER BY id LIMIT 2",
            "1|1|1.00000000000000000000\n2|3|1.5000000000000000",
        ),
        ("SELECT name FROM t ORDER BY name LIMIT 1 OFFSET 3", "NULL"),
        ("SELECT name FROM t ORDER BY name DESC LIMIT 1", "NULL"),
        ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ratio) FROM t", "1.25"),
        (
            "SELECT name, count(*) FROM t",
            "42803: column \"t.name\" must appear in the GROUP BY clause or be used in an aggregate function",
        ),
        ("SELECT sum(name) FROM t", "42883: function sum(text) does not exist"),
        ("SELECT nope FROM t", "42703: column \"nope\" does not exist"),
        ("SELECT t.nope FROM t", "42703: column t.nope does not exist"),
        ("SELECT u.id FROM t", "42P01: missing FROM-clause entry for table \"u\""),
        ("SELECT id FROM t a, t b", "42702: column reference \"id\" is ambiguous"),
        ("SELECT * FROM nope", "42P01: relation \"nope\" does not exist"),
        ("SELECT nope(1)", "42883: function nope does not exist"),
        ("SELECT (SELECT id FROM t)", "21000: more than one row returned by a subquery used as an expression"),
        ("SELECT id FROM t WHERE name = 1", "42883: operator does not exist: text = integer"),
        ("SELECT id FROM t WHERE id = 'x'", "22P02: invalid input syntax for type integer: \"x\""),
        ("SELECT id FROM t WHERE id IN ('2', '3') ORDER BY id", "2\n3"),
        ("SELECT id FROM t WHERE id BETWEEN '2' AND '3' ORDER BY id", "2\n3"),
        ("SELECT id FROM t WHERE price = '1.5'", "1"),
        ("SELECT id FROM t WHERE id = ANY(ARRAY[1, 3]) ORDER BY id", "1\n3"),
        ("SELECT id FROM t WHERE id <> ALL(ARRAY[1, 3]) ORDER BY id", "2\n4"),
        ("SELECT sum(price * (1 - 0.05) * (1 + 0.08)) FROM t", "15.390000"),
        ("SELECT 100.00 * sum(price) / sum(price) FROM t", "100.0000000000000000"),
        ("SELECT sum(price) / 7.0 FROM t", "2.1428571428571429"),
    ]);
}

#[test]
fn window_functions() {
    let mut fixture = Fixture::new();
    let table = fixture.table("w", &[("id", SqlType::Int4), ("g", SqlType::Text)]);
    let row = |(id, g): (i32, &str)| vec![Value::Int4(id), Value::Text(g.into())];
    fixture.insert(&table, [(1, "a"), (2, "a"), (3, "b"), (4, "b")].map(row).to_vec());
    fixture.check_all(&[
        (
            "SELECT id, lag(id) OVER (ORDER BY id), lead(id, 2) OVER (ORDER BY id) FROM w ORDER BY id LIMIT 2",
            "1|NULL|3\n2|1|4",
        ),
        ("SELECT id, lag(id, 1, 0) OVER (ORDER BY id) FROM w ORDER BY id LIMIT 2", "1|0\n2|1"),
        ("SELECT id, first_value(id) OVER (PARTITION BY g ORDER BY id) FROM w ORDER BY id LIMIT 3", "1|1\n2|1\n3|3"),
        ("SELECT id, nth_value(id, 2) OVER (ORDER BY id) FROM w ORDER BY id LIMIT 2", "1|NULL\n2|2"),
        (
            "SELECT id, ntile(2) OVER (ORDER BY id), rank() OVER (ORDER BY g) FROM w ORDER BY id",
            "1|1|1\n2|1|1\n3|2|3\n4|2|3",
        ),
        ("SELECT id, count(*) OVER (PARTITION BY g), max(id) OVER () FROM w ORDER BY id LIMIT 1", "1|2|4"),
        (
            "SELECT id, sum(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM w ORDER BY id",
            "1|1\n2|3\n3|5\n4|7",
        ),
        (
            "SELECT percent_rank() OVER (ORDER BY id), cume_dist() OVER (ORDER BY id) FROM w ORDER BY id LIMIT 1",
            "0|0.25",
        ),
        ("SELECT g, count(*) FROM w GROUP BY 1 ORDER BY 2 DESC, 1", "a|2\nb|2"),
        ("SELECT g AS x FROM w GROUP BY x ORDER BY x", "a\nb"),
        ("SELECT id, g FROM w GROUP BY id ORDER BY id LIMIT 1", "1|a"),
        ("SELECT DISTINCT ON (g) g, id FROM w ORDER BY g, id DESC", "a|2\nb|4"),
        ("SELECT g, count(*) FROM w GROUP BY ROLLUP (g) ORDER BY g", "a|2\nb|2\nNULL|4"),
        ("SELECT (SELECT max(id) FROM w v WHERE v.g = w.g) FROM w ORDER BY id LIMIT 1", "2"),
        ("SELECT id FROM w WHERE EXISTS (SELECT 1 FROM w v WHERE v.id = w.id + 3)", "1"),
        ("SELECT id FROM w WHERE id NOT IN (SELECT id FROM w WHERE g = 'a') ORDER BY id", "3\n4"),
        ("SELECT count(*) FROM w a LEFT JOIN w b ON a.id = b.id + 1 WHERE b.id IS NULL", "1"),
        ("SELECT stddev(id), variance(id) FROM w", "1.2909944487358056|1.6666666666666667"),
        ("SELECT count(DISTINCT g), count(*) FILTER (WHERE g = 'a') FROM w", "2|2"),
        ("SELECT w.* FROM w WHERE (id, g) = (1, 'a')", "1|a"),
        ("SELECT id FROM w WHERE (id, g) IN ((1, 'a'), (4, 'b')) ORDER BY id", "1\n4"),
    ]);
}

#[test]
fn dates_and_times() {
    Fixture::new().check_all(&[
        ("date '1998-12-01' - interval '90 day'", "1998-09-02 00:00:00"),
        ("date '1998-12-01' - interval '90' day", "1998-09-02 00:00:00"),
        ("date '1995-01-01' + interval '1' year", "1996-01-01 00:00:00"),
        ("date '1995-01-31' + interval '1' month", "1995-02-28 00:00:00"),
        ("date '2024-03-01' - date '2024-02-01'", "29"),
        ("date '2024-03-01' - 1", "2024-02-29"),
        ("1 + date '2024-02-28'", "2024-02-29"),
        ("timestamp '2024-03-01 12:00' - timestamp '2024-02-28 11:00'", "2 days 01:00:00"),
        ("timestamp '2024-01-31 10:00' + interval '1 month 1 day'", "2024-03-01 10:00:00"),
        ("interval '1 year 2 months 3 days 04:05:06'", "1 year 2 mons 3 days 04:05:06"),
        ("interval '1 hour' * 1.5", "01:30:00"),
        ("interval '1 month' / 2", "15 days"),
        ("interval '30 days' = interval '1 month'", "t"),
        ("- interval '1 day'", "-1 days"),
        ("extract(year from date '1995-03-15')", "1995"),
        ("extract(epoch from timestamp '1970-01-02 00:00:00.5')", "86400.500000"),
        ("extract(second from time '10:20:30.25')", "30.250000"),
        ("date_part('month', date '1995-03-15')", "3"),
        ("extract(dow from date '2024-02-29')", "4"),
        ("extract(week from date '2021-01-03')", "53"),
        ("date_trunc('month', timestamp '2024-02-29 10:20:30')", "2024-02-01 00:00:00"),
        ("date_trunc('quarter', date '2024-05-05')", "2024-04-01 00:00:00+00"),
        ("now()", "2026-01-02 03:04:05.678901+00"),
        ("current_date", "2026-01-02"),
        ("current_timestamp - interval '1 day'", "2026-01-01 03:04:05.678901+00"),
        ("now()::date", "2026-01-02"),
        ("age(timestamp '2024-04-10', timestamp '2001-06-13')", "22 years 9 mons 27 days"),
        ("to_char(timestamp '2024-02-29 15:04:05', 'YYYY-MM-DD HH24:MI:SS')", "2024-02-29 15:04:05"),
        ("to_char(timestamp '2024-02-29 15:04:05', 'FMDay, DD Mon YYYY HH12:MI am')", "Thursday, 29 Feb 2024 03:04 pm"),
        ("to_char(1234567.891, '9,999,999.99')", " 1,234,567.89"),
        ("to_char(12, '000')", " 012"),
        ("to_char(-12.5, 'FM999.00')", "-12.50"),
        ("to_date('05 Dec 2000', 'DD Mon YYYY')", "2000-12-05"),
        ("to_timestamp('2024-02-29 10:00', 'YYYY-MM-DD HH24:MI')", "2024-02-29 10:00:00+00"),
        ("to_timestamp(0)", "1970-01-01 00:00:00+00"),
        ("make_date(2024, 2, 29)", "2024-02-29"),
        ("make_date(2023, 2, 29)", "22008:"),
        ("'2024-02-30'::date", "22008:"),
        ("'nonsense'::date", "22007: invalid input syntax for type date: \"nonsense\""),
        ("date '2024-01-01' < '2024-01-02'", "t"),
        ("timestamptz '2024-01-01 00:00+02'", "2023-12-31 22:00:00+00"),
        ("timestamp '2024-01-01 00:00' AT TIME ZONE 'Europe/Berlin'", "2023-12-31 23:00:00+00"),
        ("timestamptz '2024-01-01 00:00+00' AT TIME ZONE 'Asia/Tokyo'", "2024-01-01 09:00:00"),
        ("date '2024-01-01' + time '10:00'", "2024-01-01 10:00:00"),
        ("time '10:00' + interval '15 hours'", "01:00:00"),
        ("(date '2024-01-01', date '2024-02-01') OVERLAPS (date '2024-01-15', date '2024-03-01')", "t"),
        ("date '2024-01-01' * 2", "42883: operator does not exist: date * integer"),
    ]);
}

#[test]
fn a_session_has_its_time_zone() {
    let mut fixture = Fixture::new();
    fixture.facts.time_zone = "Europe/Berlin".to_owned();
    fixture.check_all(&[
        ("'2024-07-01 12:00'::timestamptz", "2024-07-01 10:00:00+00"),
        ("'2024-07-01 12:00'::timestamptz::text", "2024-07-01 12:00:00+02"),
        ("timestamptz '2024-07-01 23:30+00'::date", "2024-07-02"),
        ("date_trunc('day', timestamptz '2024-07-01 23:30+00')", "2024-07-01 22:00:00+00"),
        ("extract(hour from timestamptz '2024-07-01 10:00+00')", "12"),
        ("timestamptz '2024-03-30 12:00+01' + interval '1 day'", "2024-03-31 10:00:00+00"),
        ("to_char(timestamptz '2024-07-01 10:00+00', 'HH24 TZ')", "12 CEST"),
        ("date '2024-07-01'::timestamptz", "2024-06-30 22:00:00+00"),
    ]);
}

#[test]
fn casts() {
    Fixture::new().check_all(&[
        ("true::text", "true"),
        ("'t'::bool", "t"),
        ("'yes'::bool", "t"),
        ("'x'::bool", "22P02: invalid input syntax for type boolean: \"x\""),
        ("1::bool", "t"),
        ("true::int", "1"),
        ("12::text", "12"),
        ("1.50::text", "1.50"),
        ("'abc'::varchar(2)", "ab"),
        ("'ab'::char(4)", "ab  "),
        ("'ab '::char(4) = 'ab'", "t"),
        ("'\\x4142'::bytea", "\\x4142"),
        ("'{1,2,3}'::int[]", "{1,2,3}"),
        ("ARRAY[1,2]::text[]", "{1,2}"),
        ("'{\"a\": 1}'::jsonb", "{\"a\": 1}"),
        ("'not json'::json", "22P02:"),
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("pg_typeof('1'::int8)", "bigint"),
        ("'12'::int + 1", "13"),
        ("'1.5'::int", "22P02: invalid input syntax for type integer: \"1.5\""),
        ("date '2024-02-29'::text", "2024-02-29"),
        ("1::interval", "42846: cannot cast type integer to interval"),
        ("cast('7' as smallint)", "7"),
        ("int4 '5'", "5"),
        ("'infinity'::float8", "Infinity"),
        ("'int4'::regtype::oid", "23"),
        ("NULL::int", "NULL"),
        ("coalesce(NULL, 1)", "1"),
        ("coalesce(NULL::date, '2024-01-01')", "2024-01-01"),
        ("nullif(1, 1)", "NULL"),
        ("greatest(1, 3, 2), least(1.5, 1)", "3|1"),
        ("CASE WHEN true THEN 1 ELSE 2.5 END", "1"),
        ("CASE 1 WHEN '1' THEN 'a' END", "a"),
    ]);
}

#[test]
fn strings() {
    Fixture::new().check_all(&[
        ("'a' || 'b' || 1", "ab1"),
        ("'a' || NULL", "NULL"),
        ("'x' || true", "xtrue"),
        ("concat('a', NULL, 1, true)", "a1t"),
        ("concat_ws('-', 'a', NULL, 2)", "a-2"),
        ("substring('abcdef' from 2 for 3)", "bcd"),
        ("substring('abcdef', 3)", "cdef"),
        ("substring('Thomas' from '...$')", "mas"),
        ("substring('abc' from -1 for 3)", "a"),
        ("substr('abc', 2, -1)", "22011: negative substring length not allowed"),
        ("position('b' in 'abc')", "2"),
        ("upper('abc'), lower('ABC'), initcap('hi there')", "ABC|abc|Hi There"),
        ("length('Grüße'), octet_length('Grüße')", "5|7"),
        ("trim('  a '), ltrim('xxa', 'x'), rtrim('axx', 'x'), btrim('xax', 'x')", "a|a|a|a"),
        ("trim(both 'x' from 'xax')", "a"),
        ("lpad('a', 3, '*'), rpad('a', 3, '*')", "**a|a**"),
        ("left('abc', 2), right('abc', 2), left('abc', -1)", "ab|bc|ab"),
        ("repeat('ab', 2), reverse('abc'), replace('aaa', 'a', 'b')", "abab|cba|bbb"),
        ("split_part('a,b,c', ',', 2), split_part('a,b,c', ',', -1)", "b|c"),
        ("translate('12345', '143', 'ax')", "a2x5"),
        ("strpos('abc', 'c'), ascii('A'), chr(65)", "3|65|A"),
        ("md5('abc')", "900150983cd24fb0d6963f7d28e17f72"),
        ("encode('abc'::bytea, 'hex'), encode('abc'::bytea, 'base64')", "616263|YWJj"),
        ("decode('616263', 'hex')", "\\x616263"),
        ("format('%s %I %L %%', 'a', 'B', 'c''d')", "a \"B\" 'c''d' %"),
        ("quote_ident('a b'), quote_literal('a''b'), quote_nullable(NULL)", "\"a b\"|'a''b'|NULL"),
        ("'abc' LIKE 'a%', 'abc' ILIKE 'A_C', 'a%c' LIKE 'a\\%c'", "t|t|t"),
        ("'abc' NOT LIKE '%d%'", "t"),
        ("'abc' ~ '^a', 'abc' ~* 'B', 'abc' !~ 'x', 'abc' !~* 'A'", "t|t|t|f"),
        ("'abc' SIMILAR TO '(a|b)%', 'abc' SIMILAR TO 'a'", "t|f"),
        ("regexp_replace('foobar', 'o+', 'X')", "fXbar"),
        ("regexp_replace('foo bar', '(\\w+) (\\w+)', '\\2 \\1')", "bar foo"),
        ("regexp_replace('aaa', 'a', 'b', 'g')", "bbb"),
        ("regexp_match('foobar', '(o+)(b)')", "{oo,b}"),
        ("overlay('abcdef' placing 'XX' from 2 for 3)", "aXXef"),
        ("starts_with('abc', 'ab')", "t"),
        ("to_hex(255)", "ff"),
        ("'a' < 'B'", "f"),
        ("string_to_array('a,b', ','), array_to_string(ARRAY[1,2], '-')", "{a,b}|1-2"),
    ]);
}

#[test]
fn sessions_and_catalogs() {
    let mut fixture = Fixture::new();
    let table = fixture.table("t", &[("id", SqlType::Int4)]);
    let settings = [("search_path".to_owned(), "public".to_owned())];
    fixture.facts.settings = std::sync::Arc::new(settings.into_iter().collect());
    fixture.facts.user = "ann".to_owned();
    fixture.check_all(&[
        ("current_user, session_user, current_database(), current_schema()", "ann|postgres|postgres|public"),
        ("current_schemas(true)", "{pg_catalog,public}"),
        ("current_setting('search_path')", "public"),
        ("current_setting('nope')", "42704: unrecognized configuration parameter \"nope\""),
        ("current_setting('nope', true)", "NULL"),
        ("pg_backend_pid()", "0"),
        ("length(gen_random_uuid()::text)", "36"),
        ("random() BETWEEN 0 AND 1", "t"),
        ("version() LIKE 'PostgreSQL 1%'", "t"),
        ("'t'::regclass::oid", &table.oid.to_string()),
        ("'nope'::regclass", "42P01: relation \"nope\" does not exist"),
        ("to_regclass('nope')", "NULL"),
        ("nextval('nope')", "42P01: relation \"nope\" does not exist"),
    ]);
}

#[test]
fn arrays_and_series() {
    Fixture::new().check_all(&[
        ("ARRAY[1,2,3]", "{1,2,3}"),
        ("(ARRAY[10,20])[2]", "20"),
        ("array_length(ARRAY[1,2,3], 1), pg_typeof(cardinality(ARRAY[1]))", "3|integer"),
        ("array_append(ARRAY[1], 2), array_cat(ARRAY[1], ARRAY[2])", "{1,2}|{1,2}"),
        ("ARRAY[1] || ARRAY[2]", "{1,2}"),
        ("1 = ANY(ARRAY[1,2]), 3 = ANY(ARRAY[1,2])", "t|f"),
        ("SELECT unnest(ARRAY[1,2])", "1\n2"),
        ("SELECT * FROM unnest(ARRAY['a','b']) AS u(x)", "a\nb"),
        ("SELECT * FROM generate_series(1, 3)", "1\n2\n3"),
        ("SELECT generate_series FROM generate_series(3, 1, -1)", "3\n2\n1"),
        ("SELECT count(*) FROM generate_series(1, 20000) g(i) WHERE i % 2 = 0", "10000"),
        (
            "SELECT * FROM generate_series(timestamp '2024-01-01', timestamp '2024-01-02', interval '12 hours')",
            "2024-01-01 00:00:00\n2024-01-01 12:00:00\n2024-01-02 00:00:00",
        ),
        ("WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT n FROM t", "1\n2\n3"),
        ("SELECT 1 UNION SELECT 1", "1"),
        ("SELECT x FROM (SELECT 1 UNION ALL SELECT 2.5) u(x) ORDER BY x", "1\n2.5"),
        ("generate_series(1, 3)", "1\n2\n3"),
        ("SELECT i, generate_series(1, i) FROM generate_series(1, 2) g(i) ORDER BY 1, 2", "1|1\n2|1\n2|2"),
        ("pg_typeof(generate_series(1, 1))", "integer"),
        ("SELECT 1, 2 UNION SELECT 1", "42601: each UNION query must have the same number of columns"),
    ]);
}
