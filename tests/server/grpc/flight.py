"""Arrow Flight SQL by its ADBC driver.

    flight.py GRPC_ADDRESS all
    flight.py GRPC_ADDRESS rights PASSWORD ADMIN_TOKEN
"""

import datetime
import decimal
import sys

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi as flight
import adbc_driver_manager
import pyarrow
import pyarrow.flight

address = f"grpc://{sys.argv[1]}"
ROWS = 100_000


def connect(autocommit=True, **options):
    return flight.connect(address, db_kwargs=options or None, autocommit=autocommit)


def refused(work, state=None):
    """The error that some work ends with, which has to be one; its SQLSTATE stands among the details."""
    try:
        work()
    except adbc_driver_manager.Error as error:
        return error
    raise AssertionError("it was done")


def rows(cursor, statement, *parameters):
    cursor.execute(statement, *parameters)
    return cursor.fetchall()


def statements():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY, n numeric(10,2), s text, at timestamptz)")
        cursor.execute("INSERT INTO t VALUES (1, 1.50, 'one', '2026-01-01 00:00:00+00')")
        assert cursor.rowcount == 1, cursor.rowcount
        assert rows(cursor, "SELECT id, n, s FROM t") == [(1, decimal.Decimal("1.50"), "one")]
        assert [column[0] for column in cursor.description] == ["id", "n", "s"]
        assert rows(cursor, "SELECT * FROM t WHERE id > 100") == []
        # Parameters are of the statement's types.
        assert rows(cursor, "SELECT $1::int + 1, $2 || 'x', $3::numeric", (41, "a", None)) == [(42, "ax", None)]
        cursor.execute("INSERT INTO t VALUES ($1, $2, $3, $4)", (2, "2.25", "two", datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)))
        cursor.executemany("INSERT INTO t (id, s) VALUES ($1, $2)", [(n, f"row {n}") for n in range(3, 103)])
        assert cursor.rowcount == 100, cursor.rowcount
        assert rows(cursor, "SELECT count(*), sum(id) FROM t") == [(102, sum(range(1, 103)))]
        assert rows(cursor, "SELECT n, at FROM t WHERE id = $1", (2,)) == [
            (decimal.Decimal("2.25"), datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc))
        ]
        assert rows(cursor, "UPDATE t SET s = 'x' WHERE id <= 3 RETURNING id") == [(1,), (2,), (3,)]
        # All rows of one executemany, or none.
        refused(lambda: cursor.executemany("INSERT INTO t (id) VALUES ($1)", [(1_000,), (1,)]))
        assert rows(cursor, "SELECT count(*) FROM t WHERE id >= 1000") == [(0,)]
        # Types, as Arrow.
        cursor.execute("SELECT 1::smallint AS a, ARRAY['x', NULL] AS b, '{}'::jsonb AS c, 'a'::bytea AS d, NULL::date AS e")
        table = cursor.fetch_arrow_table()
        assert table.to_pylist() == [{"a": 1, "b": ["x", None], "c": "{}", "d": b"a", "e": None}], table
        # Many messages.
        cursor.execute(f"SELECT i, repeat('x', 100) AS s FROM generate_series(1, {ROWS}) AS g (i)")
        table = cursor.fetch_arrow_table()
        assert table.num_rows == ROWS and table.column("i")[ROWS - 1].as_py() == ROWS

        schema = cursor.adbc_execute_schema("SELECT 1::bigint AS a, 'x' AS b")
        assert schema.names == ["a", "b"] and schema.field(0).type == pyarrow.int64(), schema
        parameters = cursor.adbc_prepare("SELECT $1::int, $2::text")
        assert parameters.types == [pyarrow.int32(), pyarrow.string()], parameters
        # As JDBC writes them; an operator stays what it is.
        parameters = cursor.adbc_prepare("SELECT ?::int, '?', '{\"a\": 1}'::jsonb ?? ?")
        assert parameters.types == [pyarrow.int32(), pyarrow.string()], parameters
        assert cursor.adbc_prepare("SELECT '{\"a\": 1}'::jsonb ? 'a'").types == [], "no parameter"

        for statement, state in [
            ("SELEC 1", "42601"),
            ("SELECT * FROM nothing", "42P01"),
            ("INSERT INTO t (id) VALUES (1)", "23505"),
            ("SELECT 1; SELECT 2", "42601"),
            ("COPY t TO STDOUT", "0A000"),
        ]:
            error = refused(lambda: rows(cursor, statement))
            assert state in error_text(error), (statement, error_text(error))
        error = refused(lambda: rows(cursor, "SELECT 1 / (id - 50) FROM t"))
        assert "22012" in error_text(error), error_text(error)
        error = refused(lambda: rows(cursor, "SELECT $1::int", ("x",)))
        assert "22P02" in error_text(error), error_text(error)


def error_text(error):
    details = getattr(error, "details", None) or []
    return f"{error} {error.sqlstate} {[(key, value) for key, value in details]}"


def transactions():
    # A cursor keeps what it has prepared, and that belongs to its transaction: each has cursors of its own.
    with connect(autocommit=False) as connection, connect() as other, other.cursor() as outside:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE kept (id int)")
            connection.commit()
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO kept VALUES (1)")
            assert rows(cursor, "SELECT id FROM kept") == [(1,)]
            assert rows(outside, "SELECT id FROM kept") == []
            connection.rollback()
        with connection.cursor() as cursor:
            assert rows(cursor, "SELECT id FROM kept") == []
            cursor.execute("INSERT INTO kept VALUES ($1)", (2,))
            assert rows(outside, "SELECT id FROM kept") == []
            connection.commit()
            assert rows(outside, "SELECT id FROM kept") == [(2,)]
        with connection.cursor() as cursor:
            # An error ends what was done, not the connection.
            cursor.execute("INSERT INTO kept VALUES (5)")
            refused(lambda: rows(cursor, "SELECT * FROM nothing"))
            connection.rollback()
        with connection.cursor() as cursor:
            assert rows(cursor, "SELECT count(*) FROM kept") == [(1,)]


def bulk():
    numbers = range(ROWS)
    table = pyarrow.table(
        {
            "id": pyarrow.array(numbers, pyarrow.int64()),
            "f": pyarrow.array([n / 3 for n in numbers], pyarrow.float64()),
            "s": pyarrow.array([None if n % 7 == 0 else f"row {n % 100}" for n in numbers]),
            "at": pyarrow.array([n * 1_000_000 for n in numbers], pyarrow.timestamp("us", "UTC")),
            "d": pyarrow.array([decimal.Decimal(n) / 8 for n in numbers], pyarrow.decimal128(12, 3)),
            "tags": pyarrow.array([[n % 5, None] for n in numbers], pyarrow.list_(pyarrow.int32())),
        }
    )
    with connect() as connection, connection.cursor() as cursor:
        assert cursor.adbc_ingest("bulk", table, mode="create") == ROWS
        cursor.execute("SELECT * FROM bulk ORDER BY id")
        found = cursor.fetch_arrow_table()
        types = [str(field.type).replace("UTC", "+00:00") for field in table.schema]
        assert [str(field.type) for field in found.schema] == types, found.schema
        assert found.to_pydict() == table.to_pydict()
        assert "42P07" in error_text(refused(lambda: cursor.adbc_ingest("bulk", table, mode="create")))
        assert cursor.adbc_ingest("bulk", table.slice(0, 10), mode="append") == 10
        assert cursor.adbc_ingest("bulk", table.to_reader(max_chunksize=1_000), mode="create_append") == ROWS
        assert rows(cursor, "SELECT count(*) FROM bulk") == [(2 * ROWS + 10,)]
        assert cursor.adbc_ingest("bulk", table.select(["id", "s"]), mode="replace") == ROWS
        assert [column[0] for column in rows_description(cursor, "SELECT * FROM bulk LIMIT 1")] == ["id", "s"]
        # All rows or none; and a table that is not there.
        cursor.execute("ALTER TABLE bulk ADD PRIMARY KEY (id)")
        error = refused(lambda: cursor.adbc_ingest("bulk", table.select(["s", "id"]), mode="append"))
        assert "23505" in error_text(error), error_text(error)
        assert rows(cursor, "SELECT count(*) FROM bulk") == [(ROWS,)]
        assert "42P01" in error_text(refused(lambda: cursor.adbc_ingest("none", table, mode="append")))
        assert "42703" in error_text(refused(lambda: cursor.adbc_ingest("bulk", pyarrow.table({"x": [1]}), mode="append")))
        cursor.execute("CREATE SCHEMA aside")
        assert cursor.adbc_ingest("a\"b", pyarrow.table({"x y": [1]}), mode="create", db_schema_name="aside") == 1
        assert rows(cursor, 'SELECT "x y" FROM aside."a""b"') == [(1,)]


def rows_description(cursor, statement):
    cursor.execute(statement)
    description = cursor.description
    cursor.fetchall()
    return description


def catalog():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE parent (a int, b text, PRIMARY KEY (b, a))")
        cursor.execute("CREATE TABLE child (id bigint PRIMARY KEY, x text, y int NOT NULL, FOREIGN KEY (x, y) REFERENCES parent (b, a) ON DELETE CASCADE)")
        cursor.execute("CREATE VIEW seen AS SELECT id FROM child")
        info = connection.adbc_get_info()
        assert info["vendor_name"] == "Perigee" and info["driver_name"], info
        assert connection.adbc_get_table_types() == ["MATERIALIZED VIEW", "TABLE", "VIEW"], connection.adbc_get_table_types()
        schema = connection.adbc_get_table_schema("child")
        assert schema.names == ["id", "x", "y"] and schema.field("y").type == pyarrow.int32(), schema
        found = connection.adbc_get_objects(catalog_filter="postgres", db_schema_filter="public").read_all().to_pylist()
        schemas = {schema["db_schema_name"]: schema for catalog in found for schema in catalog["catalog_db_schemas"]}
        tables = {table["table_name"]: table for table in schemas["public"]["db_schema_tables"]}
        assert tables["seen"]["table_type"] == "VIEW" and tables["child"]["table_type"] == "TABLE", tables
        assert [column["column_name"] for column in tables["child"]["table_columns"]] == ["id", "x", "y"], tables["child"]
        found = connection.adbc_get_objects(depth="tables", table_name_filter="par%", table_types_filter=["TABLE"]).read_all()
        names = [
            table["table_name"]
            for catalog in found.to_pylist()
            for schema in catalog["catalog_db_schemas"] or []
            for table in schema["db_schema_tables"] or []
        ]
        assert names == ["parent"], names


def field(number, value):
    """A field of a message, of at most 16,383 bytes."""
    count = len(value)
    return bytes([number << 3 | 2, count & 127 | 128, count >> 7]) + value


def packed(name, body):
    return field(1, f"type.googleapis.com/arrow.flight.protocol.sql.{name}".encode()) + field(2, body)


def first_field(message):
    """The bytes of the first field of a message, and what is behind it."""
    at, count, shift = 1, 0, 0
    while True:
        count |= (message[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 128:
            return message[at : at + count], message[at + count :]


def prepared():
    """What drivers other than ADBC's send: schemas without columns, batches of nothing, rows by the million in a few bytes."""
    client = pyarrow.flight.connect(address)

    def handle(statement):
        action = pyarrow.flight.Action("CreatePreparedStatement", packed("ActionCreatePreparedStatementRequest", field(1, statement.encode())))
        [result] = client.do_action(action)
        return first_field(first_field(first_field(result.body.to_pybytes())[1])[0])[0]

    def run(statement, schema, batches):
        command = packed("CommandPreparedStatementUpdate", field(1, handle(statement)))
        writer, reader = client.do_put(pyarrow.flight.FlightDescriptor.for_command(command), schema)
        for batch in batches:
            writer.write_batch(batch)
        writer.done_writing()
        answer = reader.read().to_pybytes()
        writer.close()
        return answer[1] if answer else 0

    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE prepared (a int)")
        nothing, one = pyarrow.schema([]), pyarrow.schema([("a", pyarrow.int32())])
        empty = pyarrow.record_batch([], schema=nothing)
        assert run("INSERT INTO prepared VALUES (1)", nothing, []) == 1
        assert run("INSERT INTO prepared VALUES (2)", nothing, [empty]) == 1
        assert run("INSERT INTO prepared VALUES ($1)", one, []) == 0
        assert run("INSERT INTO prepared VALUES ($1)", one, [pyarrow.record_batch([pyarrow.array([3, 4], pyarrow.int32())], schema=one)]) == 2
        assert rows(cursor, "SELECT array_agg(a ORDER BY a)::text FROM prepared") == [("{1,2,3,4}",)]
    client = pyarrow.flight.connect(address)
    for nothing in (
        lambda: client.do_get(pyarrow.flight.Ticket(b"")).read_all(),
        lambda: client.get_flight_info(pyarrow.flight.FlightDescriptor.for_path("t")),
    ):
        try:
            nothing()
        except pyarrow.lib.ArrowInvalid as error:
            assert "no command" in str(error), error
        else:
            raise AssertionError("it was done")


def rights(password, token):
    basic = adbc_driver_manager.DatabaseOptions
    header = adbc_driver_flightsql.DatabaseOptions.AUTHORIZATION_HEADER.value
    owner = {basic.USERNAME.value: "postgres", basic.PASSWORD.value: password}
    ann = {basic.USERNAME.value: "ann", basic.PASSWORD.value: "ann"}
    for options, user in [(owner, "postgres"), (ann, "ann"), ({header: f"Bearer {token}"}, "postgres")]:
        with connect(**options) as connection, connection.cursor() as cursor:
            assert rows(cursor, "SELECT current_user::text") == [(user,)]

    def ask(**options):
        with connect(**options) as connection, connection.cursor() as cursor:
            return rows(cursor, "SELECT 1")

    for wrong in [{}, {**owner, basic.PASSWORD.value: "wrong"}, {header: f"Bearer {token}x"}, {header: "Bearer basic_!"}]:
        error = refused(lambda: ask(**wrong))
        assert "Unauth" in error_text(error) or "UNAUTH" in error_text(error), error_text(error)
    with connect(**ann) as connection, connection.cursor() as cursor:
        assert rows(cursor, "SELECT * FROM t") == []
        small = pyarrow.table({"a": pyarrow.array([1], pyarrow.int32())})
        for work in [
            lambda: rows(cursor, "SELECT * FROM hidden"),
            lambda: cursor.execute("INSERT INTO t VALUES (1)"),
            lambda: cursor.executemany("INSERT INTO t VALUES ($1)", [(1,)]),
            lambda: cursor.adbc_ingest("t", small, mode="append"),
            lambda: cursor.adbc_ingest("t", small, mode="replace"),
        ]:
            error = refused(work)
            assert "42501" in error_text(error), error_text(error)


if sys.argv[2] == "all":
    statements()
    transactions()
    catalog()
    bulk()
    prepared()
else:
    rights(*sys.argv[3:])
