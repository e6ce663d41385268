"""pyodbc over psqlODBC as applications and BI tools use it. `odbc.py CONNECTION-STRING`; exits 1 where a check fails."""

import datetime as dt
import decimal
import sys
import traceback

import pyodbc

CONNECTION = sys.argv[1]
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def equal(got, want):
    assert got == want, f"{got!r} is not {want!r}"


def connect(autocommit=True):
    return pyodbc.connect(CONNECTION, autocommit=autocommit)


@check
def what_the_server_is():
    conn = connect()
    equal(conn.getinfo(pyodbc.SQL_DBMS_NAME), "PostgreSQL")
    assert int(conn.getinfo(pyodbc.SQL_DBMS_VER).split(".")[0]) >= 15
    conn.close()


@check
def values_go_in_and_come_back():
    rows = [
        ("boolean", True, "1"),
        ("integer", -7, -7),
        ("bigint", 2**40, 2**40),
        ("double precision", 0.25, 0.25),
        ("numeric(12,3)", decimal.Decimal("12345.670"), decimal.Decimal("12345.670")),
        ("text", "hé'llo\n", "hé'llo\n"),
        ("varchar(20)", "short", "short"),
        ("bytea", b"\x00\xff", b"\x00\xff"),
        ("date", dt.date(2024, 2, 29), dt.date(2024, 2, 29)),
        ("timestamp", dt.datetime(2024, 2, 29, 12, 34, 56, 789000), dt.datetime(2024, 2, 29, 12, 34, 56, 789000)),
        # The driver gives a GUID, which pyodbc writes in capitals.
        ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
    ]
    conn = connect()
    cur = conn.cursor()
    for ty, value, shown in rows:
        cur.execute("DROP TABLE IF EXISTS odbc_values")
        cur.execute(f"CREATE TABLE odbc_values (id integer, v {ty})")
        cur.execute("INSERT INTO odbc_values VALUES (?, ?)", 1, value)
        cur.execute("INSERT INTO odbc_values VALUES (?, ?)", 2, None)
        got = cur.execute("SELECT v FROM odbc_values ORDER BY id").fetchall()
        equal([row[0] for row in got], [True if ty == "boolean" and got[0][0] is True else shown, None])
    cur.execute("DROP TABLE odbc_values")
    conn.close()


@check
def more_rows_than_one_fetch():
    conn = connect()
    cur = conn.cursor()
    cur.execute("SELECT n, 'row ' || n FROM generate_series(1, 1000) n ORDER BY n")
    equal(tuple(cur.fetchone()), (1, "row 1"))
    equal([tuple(row) for row in cur.fetchmany(3)], [(n, f"row {n}") for n in (2, 3, 4)])
    equal(sum(row[0] for row in cur), 1000 * 1001 // 2 - 10)
    conn.close()


@check
def two_results_side_by_side():
    conn = connect(autocommit=False)
    one, two = conn.cursor(), conn.cursor()
    one.execute("SELECT n FROM generate_series(1, 10) n ORDER BY n")
    two.execute("SELECT n FROM generate_series(11, 20) n ORDER BY n")
    pairs = [(one.fetchone()[0], two.fetchone()[0]) for _ in range(10)]
    equal(pairs, [(n, n + 10) for n in range(1, 11)])
    conn.rollback()
    conn.close()


@check
def transactions():
    conn = connect(autocommit=False)
    cur = conn.cursor()
    cur.execute("DROP TABLE IF EXISTS odbc_accounts")
    cur.execute("CREATE TABLE odbc_accounts (id integer PRIMARY KEY, balance numeric(10,2))")
    cur.executemany("INSERT INTO odbc_accounts VALUES (?, ?)", [(n, decimal.Decimal(10 * n)) for n in range(1, 6)])
    conn.commit()
    cur.execute("UPDATE odbc_accounts SET balance = balance - 5 WHERE id > ?", 3)
    equal(cur.rowcount, 2)
    conn.rollback()
    equal(cur.execute("SELECT sum(balance) FROM odbc_accounts").fetchone()[0], decimal.Decimal("150.00"))
    conn.commit()
    cur.execute("DROP TABLE odbc_accounts")
    conn.commit()
    conn.close()


@check
def errors_have_their_state():
    conn = connect()
    cur = conn.cursor()
    cur.execute("DROP TABLE IF EXISTS odbc_keys")
    cur.execute("CREATE TABLE odbc_keys (id integer PRIMARY KEY)")
    cur.execute("INSERT INTO odbc_keys VALUES (1)")
    for statement, state in [
        ("INSERT INTO odbc_keys VALUES (1)", "23505"),
        ("SELECT * FROM odbc_nowhere", "42P01"),
        ("SELEC 1", "42601"),
        ("SELECT 1 / 0", "22012"),
    ]:
        try:
            cur.execute(statement).fetchall()
        except pyodbc.Error as error:
            equal(error.args[0], state)
        else:
            raise AssertionError(f"{statement} went well")
    equal(cur.execute("SELECT count(*) FROM odbc_keys").fetchone()[0], 1)
    cur.execute("DROP TABLE odbc_keys")
    conn.close()


@check
def an_error_leaves_the_transaction_usable_or_ends_it():
    conn = connect(autocommit=False)
    cur = conn.cursor()
    cur.execute("SELECT 1").fetchall()
    try:
        cur.execute("SELECT 1 / 0").fetchall()
    except pyodbc.Error:
        conn.rollback()
    equal(cur.execute("SELECT 2").fetchone()[0], 2)
    conn.rollback()
    conn.close()


@check
def what_tools_ask_of_the_catalog():
    conn = connect()
    cur = conn.cursor()
    cur.execute("DROP TABLE IF EXISTS odbc_lines; DROP TABLE IF EXISTS odbc_orders")
    cur.execute("CREATE TABLE odbc_orders (id integer PRIMARY KEY, placed date NOT NULL, note varchar(30))")
    cur.execute(
        "CREATE TABLE odbc_lines (order_id integer REFERENCES odbc_orders (id), line integer, price numeric(10,2),"
        " PRIMARY KEY (order_id, line))"
    )
    tables = cur.tables(table="odbc_%", schema="public").fetchall()
    equal(sorted((row.table_name, row.table_type) for row in tables), [("odbc_lines", "TABLE"), ("odbc_orders", "TABLE")])
    columns = cur.columns(table="odbc_orders", schema="public").fetchall()
    equal(
        [(row.column_name, row.type_name, row.nullable) for row in columns],
        [("id", "int4", 0), ("placed", "date", 0), ("note", "varchar", 1)],
    )
    keys = cur.primaryKeys(table="odbc_lines", schema="public").fetchall()
    equal([(row.column_name, row.key_seq) for row in keys], [("order_id", 1), ("line", 2)])
    keys = cur.foreignKeys(foreignTable="odbc_lines", foreignSchema="public").fetchall()
    equal([(row.pktable_name, row.pkcolumn_name, row.fkcolumn_name) for row in keys], [("odbc_orders", "id", "order_id")])
    found = cur.statistics(table="odbc_lines", schema="public", unique=True).fetchall()
    equal([row.column_name for row in found if row.column_name], ["order_id", "line"])
    types = {row.type_name for row in cur.getTypeInfo().fetchall()}
    assert {"int4", "text", "numeric", "timestamptz"} <= types, types
    cur.execute("DROP TABLE odbc_lines; DROP TABLE odbc_orders")
    conn.close()


@check
def the_query_of_a_chart():
    conn = connect()
    cur = conn.cursor()
    cur.execute("DROP TABLE IF EXISTS odbc_sales")
    cur.execute("CREATE TABLE odbc_sales (region text, day date, amount numeric(10,2))")
    cur.execute(
        "INSERT INTO odbc_sales SELECT CASE n % 2 WHEN 0 THEN 'north' ELSE 'south' END, date '2024-01-01' + n, n"
        " FROM generate_series(1, 60) n"
    )
    got = cur.execute(
        'SELECT CAST("s"."region" AS TEXT) AS "region", DATE_TRUNC(\'MONTH\', CAST("s"."day" AS TIMESTAMP)) AS "tmn",'
        ' SUM("s"."amount") AS "sum" FROM "public"."odbc_sales" "s" WHERE "s"."day" >= ? GROUP BY 1, 2'
        " HAVING (COUNT(1) > 0) ORDER BY 1 ASC NULLS FIRST, 2",
        dt.date(2024, 2, 1),
    ).fetchall()
    # The last day alone is in March.
    equal([row[0] for row in got], ["north", "north", "south"])
    equal(sum(row[2] for row in got), decimal.Decimal(sum(range(31, 61))))
    cur.execute("DROP TABLE odbc_sales")
    conn.close()


def main():
    failed = 0
    for function in CHECKS:
        try:
            function()
            print(f"ok      {function.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED  {function.__name__}")
            traceback.print_exc()
    sys.exit(1 if failed else 0)


main()
