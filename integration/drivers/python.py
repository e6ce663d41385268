"""psycopg 3, asyncpg and pg8000 as applications use them. `python.py HOST PORT`; exits 1 where a check fails."""

import asyncio
import datetime as dt
import decimal
import sys
import threading
import time
import traceback
import uuid

import asyncpg
import pg8000.dbapi
import pg8000.native
import psycopg
from psycopg.rows import dict_row

HOST, PORT = sys.argv[1], int(sys.argv[2])
DSN = f"host={HOST} port={PORT} user=postgres dbname=postgres"
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def equal(got, want):
    assert got == want, f"{got!r} is not {want!r}"


VALUES = [
    ("boolean", True),
    ("smallint", -7),
    ("integer", 2**31 - 1),
    ("bigint", -(2**63)),
    ("double precision", 0.1),
    ("numeric", decimal.Decimal("12345.678900")),
    ("text", "hé'llo\n"),
    ("bytea", b"\x00\xff"),
    ("date", dt.date(2024, 2, 29)),
    ("time", dt.time(23, 59, 59, 999999)),
    ("timestamp", dt.datetime(2024, 2, 29, 12, 34, 56, 789000)),
    ("timestamptz", dt.datetime(2024, 2, 29, 12, 34, 56, 789000, tzinfo=dt.timezone.utc)),
    ("interval", dt.timedelta(days=3, seconds=7, microseconds=9)),
    ("uuid", uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
    ("integer[]", [1, None, 3]),
    ("text[]", ["a", 'b "c"', None, ""]),
    ("double precision[]", [1.5, float("inf")]),
]


@check
def psycopg_enums():
    import enum

    from psycopg.types.enum import EnumInfo, register_enum

    class Mood(enum.Enum):
        sad = "sad"
        happy = "happy"

    with psycopg.connect(DSN, autocommit=True) as conn:
        conn.execute("DROP TYPE IF EXISTS mood CASCADE; CREATE TYPE mood AS ENUM ('sad', 'happy')")
        conn.execute("CREATE TABLE moods (m mood, all_of mood[])")
        register_enum(EnumInfo.fetch(conn, "mood"), conn, Mood)
        for binary in (False, True):
            with conn.cursor(binary=binary) as cur:
                conn.execute("TRUNCATE moods")
                cur.execute("INSERT INTO moods VALUES (%b, %t)" if binary else "INSERT INTO moods VALUES (%s, %s)",
                            (Mood.happy, [Mood.sad, None, Mood.happy]))
                got = cur.execute("SELECT * FROM moods WHERE m > %s", (Mood.sad,)).fetchone()
                equal(got, (Mood.happy, [Mood.sad, None, Mood.happy]))
        with conn.cursor() as cur:
            with cur.copy("COPY moods (m) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["mood"])
                copy.write_row((Mood.sad,))
            equal(cur.execute("SELECT count(*), min(m) FROM moods").fetchone(), (2, Mood.sad))
        conn.execute("DROP TYPE mood CASCADE; DROP TABLE moods")


@check
def asyncpg_enums():
    async def run():
        conn = await asyncpg.connect(host=HOST, port=PORT, user="postgres", database="postgres")
        await conn.execute("DROP TYPE IF EXISTS pace CASCADE; CREATE TYPE pace AS ENUM ('slow', 'fast')")
        equal(await conn.fetchval("SELECT $1::pace", "fast"), "fast")
        equal(await conn.fetchval("SELECT $1::pace[]", ["fast", "slow"]), ["fast", "slow"])
        await conn.execute("DROP TYPE pace")
        await conn.close()

    asyncio.run(run())


@check
def composites():
    from psycopg.types.composite import CompositeInfo, register_composite

    with psycopg.connect(DSN, autocommit=True) as conn:
        conn.execute("DROP TYPE IF EXISTS item CASCADE; CREATE TYPE item AS (name text, price numeric, tags text[])")
        conn.execute("CREATE TABLE items_held (id int PRIMARY KEY, what item, more item[])")
        info = CompositeInfo.fetch(conn, "item")
        equal(info.field_names, ("name", "price", "tags"))
        register_composite(info, conn)
        pen = info.python_type("pen", decimal.Decimal("1.50"), ["a b", None])
        for binary in (False, True):
            with conn.cursor(binary=binary) as cur:
                conn.execute("TRUNCATE items_held")
                values = "(1, %b, %b)" if binary else "(1, %s, %s)"
                cur.execute("INSERT INTO items_held VALUES " + values, (pen, [pen]))
                equal(cur.execute("SELECT what, more, (what).price FROM items_held").fetchone(), (pen, [pen], pen.price))

    async def run():
        conn = await asyncpg.connect(host=HOST, port=PORT, user="postgres", database="postgres")
        row = ("ink", decimal.Decimal("2"), None)
        await conn.execute("INSERT INTO items_held VALUES (2, $1, $2)", row, [row])
        equal(await conn.fetchrow("SELECT what, more FROM items_held WHERE id = 2"), (row, [row]))
        await conn.execute("DROP TYPE item CASCADE; DROP TABLE items_held")
        await conn.close()

    asyncio.run(run())


@check
def asyncpg_types_of_their_own():
    """Bit strings, geometric types, pg_lsn, and the types of extensions, which it asks the server about."""

    async def run():
        conn = await asyncpg.connect(host=HOST, port=PORT, user="postgres", database="postgres")
        for name, value in [
            ("bit(3)", asyncpg.BitString("101")),
            ("varbit", asyncpg.BitString("1011")),
            ("point", asyncpg.Point(1, -2.5)),
            ("box", asyncpg.Box((3, 4), (1, 2))),
            ("path", asyncpg.Path((1, 2), (3, 4), is_closed=False)),
            ("polygon", asyncpg.Polygon((1, 2), (3, 4), (5, 6))),
            ("circle", asyncpg.Circle((1, 2), 3)),
            ("lseg", asyncpg.LineSegment((1, 2), (3, 4))),
            ("line", asyncpg.Line(1, 2, 3)),
            ("pg_lsn", 5),
            ("citext", "Foo"),
            ("ltree", "a.b"),
            ("hstore", '"a"=>"1"'),
            ("point[]", [asyncpg.Point(1, 2), None]),
        ]:
            equal(await conn.fetchval(f"SELECT $1::{name}", value), value)
        await conn.set_builtin_type_codec("hstore", codec_name="pg_contrib.hstore", schema="pg_catalog")
        equal(await conn.fetchval("SELECT $1::hstore", {"a": "1", "b": None}), {"a": "1", "b": None})
        await conn.close()

    asyncio.run(run())


@check
def psycopg_types():
    with psycopg.connect(DSN, autocommit=True) as conn:
        for binary in (False, True):
            for name, value in VALUES:
                with conn.cursor(binary=binary) as cur:
                    got = cur.execute(f"SELECT %s::{name}, NULL::{name}", (value,)).fetchone()
                    assert got == (value, None), f"{name} binary={binary}: {got!r}"


@check
def psycopg_table_and_transactions():
    with psycopg.connect(DSN) as conn:
        conn.execute("DROP TABLE IF EXISTS py")
        conn.execute("CREATE TABLE py (id serial PRIMARY KEY, name text NOT NULL, at timestamptz DEFAULT now())")
        conn.commit()
        with conn.cursor(row_factory=dict_row) as cur:
            cur.executemany("INSERT INTO py (name) VALUES (%s) RETURNING id", [("a",), ("b",), ("c",)], returning=True)
            cur.execute("SELECT id, name FROM py ORDER BY id")
            equal([row["name"] for row in cur], ["a", "b", "c"])
        try:
            with conn.transaction():
                conn.execute("INSERT INTO py (name) VALUES (NULL)")
        except psycopg.errors.NotNullViolation as error:
            equal(error.diag.column_name, "name")
        else:
            raise AssertionError("NULL was taken")
        equal(conn.execute("SELECT count(*) FROM py").fetchone(), (3,))
        conn.rollback()
        equal(conn.execute("SELECT count(*) FROM py").fetchone(), (0,))


@check
def psycopg_prepared():
    with psycopg.connect(DSN, autocommit=True, prepare_threshold=2) as conn:
        for i in range(12):
            equal(conn.execute("SELECT %s::int + 1, %s::text", (i, str(i))).fetchone(), (i + 1, str(i)))


@check
def psycopg_pipeline():
    with psycopg.connect(DSN) as conn:
        conn.execute("DROP TABLE IF EXISTS pypipe")
        conn.execute("CREATE TABLE pypipe (a int PRIMARY KEY)")
        conn.commit()
        with conn.pipeline():
            curs = [conn.execute("INSERT INTO pypipe VALUES (%s) RETURNING a", (i,)) for i in range(20)]
            equal([cur.fetchone() for cur in curs], [(i,) for i in range(20)])
        try:
            with conn.pipeline():
                conn.execute("INSERT INTO pypipe VALUES (100)")
                conn.execute("INSERT INTO pypipe VALUES (1)")
                conn.execute("INSERT INTO pypipe VALUES (101)")
        except psycopg.errors.UniqueViolation:
            conn.rollback()
        else:
            raise AssertionError("a duplicate was taken")
        equal(conn.execute("SELECT count(*) FROM pypipe WHERE a >= 100").fetchone(), (0,))


@check
def psycopg_copy():
    with psycopg.connect(DSN) as conn:
        conn.execute("DROP TABLE IF EXISTS pycopy")
        conn.execute("CREATE TABLE pycopy (a int, b text, c timestamptz)")
        now = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
        with conn.cursor() as cur:
            with cur.copy("COPY pycopy FROM STDIN") as copy:
                for i in range(1000):
                    copy.write_row((i, f"row\t{i}" if i % 3 else None, now))
            with cur.copy("COPY pycopy FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["int4", "text", "timestamptz"])
                for i in range(1000):
                    copy.write_row((i, f"row {i}", now))
            equal(cur.execute("SELECT count(*), count(b), min(c) FROM pycopy").fetchone(), (2000, 1666, now))
            with cur.copy("COPY (SELECT a, b FROM pycopy ORDER BY a, b LIMIT 3) TO STDOUT") as copy:
                copy.set_types(["int4", "text"])
                equal(list(copy.rows()), [(0, "row 0"), (0, None), (1, "row\t1")])


@check
def psycopg_server_cursors():
    with psycopg.connect(DSN) as conn:
        with conn.cursor("named") as cur:
            cur.itersize = 7
            cur.execute("SELECT i FROM generate_series(1, 50) AS g(i) WHERE i > %s", (0,))
            equal(cur.fetchmany(3), [(1,), (2,), (3,)])
            equal([row[0] for row in cur], list(range(4, 51)))
        with conn.cursor("scrolling", scrollable=True) as cur:
            cur.execute("SELECT i FROM generate_series(1, 9) AS g(i)")
            equal(cur.fetchall()[-1], (9,))
            cur.scroll(0, mode="absolute")
            equal(cur.fetchone(), (1,))
        with conn.cursor("held", withhold=True) as cur:
            cur.execute("SELECT i FROM generate_series(1, 5) AS g(i)")
            conn.commit()
            equal(len(cur.fetchall()), 5)


@check
def psycopg_cancel():
    with psycopg.connect(DSN, autocommit=True) as conn:
        timer = threading.Timer(0.3, conn.cancel)
        timer.start()
        try:
            conn.execute("SELECT count(*) FROM generate_series(1, 1000000000000) AS g(i)")
        except psycopg.errors.QueryCanceled:
            pass
        else:
            raise AssertionError("it was not canceled")
        equal(conn.execute("SELECT 1").fetchone(), (1,))


@check
def psycopg_notices_and_parameters():
    with psycopg.connect(DSN, autocommit=True) as conn:
        seen = []
        conn.add_notice_handler(lambda diag: seen.append(diag.sqlstate))
        conn.execute("COMMIT")
        equal(seen, ["25P01"])
        conn.execute("SELECT set_config('application_name', 'py', false)")
        equal(conn.info.parameter_status("application_name"), "py")
        assert conn.info.server_version >= 140000


@check
def asyncpg_all():
    async def run():
        conn = await asyncpg.connect(host=HOST, port=PORT, user="postgres", database="postgres")
        for name, value in VALUES:
            got = await conn.fetchrow(f"SELECT $1::{name} AS a, NULL::{name} AS b", value)
            assert tuple(got) == (value, None), f"{name}: {got!r}"
        await conn.execute("DROP TABLE IF EXISTS apg; CREATE TABLE apg (a int PRIMARY KEY, b text, c float8)")
        await conn.executemany("INSERT INTO apg VALUES ($1, $2, $3)", [(i, str(i), i / 2) for i in range(500)])
        equal(await conn.fetchval("SELECT count(*) FROM apg"), 500)
        await conn.copy_records_to_table("apg", records=[(i, str(i), None) for i in range(1000, 3000)])
        equal(await conn.fetchval("SELECT count(*) FROM apg WHERE c IS NULL"), 2000)
        async with conn.transaction():
            seen = 0
            async for row in conn.cursor("SELECT a FROM apg ORDER BY a", prefetch=100):
                seen += 1
            equal(seen, 2500)
            cur = await conn.cursor("SELECT a FROM apg ORDER BY a")
            equal([r["a"] for r in await cur.fetch(3)], [0, 1, 2])
            await cur.forward(10)
            equal((await cur.fetchrow())["a"], 13)
        try:
            async with conn.transaction():
                async with conn.transaction():
                    await conn.execute("INSERT INTO apg VALUES (1, 'x', 0)")
        except asyncpg.UniqueViolationError as error:
            equal(error.constraint_name, "apg_pkey")
        try:
            await conn.fetch("SELECT count(*) FROM generate_series(1, 1000000000000) AS g(i)", timeout=0.3)
        except asyncio.TimeoutError:
            pass
        statement = await conn.prepare("SELECT a, b FROM apg WHERE a = ANY($1::int[]) ORDER BY a")
        equal([tuple(r) for r in await statement.fetch([1, 3])], [(1, "1"), (3, "3")])
        equal([a.type.name for a in statement.get_attributes()], ["int4", "text"])
        await conn.execute("ALTER TABLE apg ADD COLUMN d int")
        equal(len((await conn.fetchrow("SELECT * FROM apg WHERE a = 1"))), 4)
        await conn.execute("DROP TABLE apg")
        await conn.close()

    asyncio.run(run())


@check
def asyncpg_pool():
    async def run():
        # Between two users of a connection it sends its own reset: advisory locks, cursors, UNLISTEN, RESET ALL.
        async with asyncpg.create_pool(host=HOST, port=PORT, user="postgres", database="postgres", min_size=1, max_size=4) as pool:
            async def one(i):
                async with pool.acquire() as conn:
                    return await conn.fetchval("SELECT $1::int * 2", i)

            equal(sorted(await asyncio.gather(*(one(i) for i in range(40)))), [i * 2 for i in range(40)])

    asyncio.run(run())


@check
def pg8000_native():
    conn = pg8000.native.Connection("postgres", host=HOST, port=PORT, database="postgres")
    for name, value in VALUES:
        if name == "interval":
            continue
        got = conn.run(f"SELECT CAST(:v AS {name}), CAST(NULL AS {name})", v=value)
        assert got == [[value, None]], f"{name}: {got!r}"
    conn.run("DROP TABLE IF EXISTS p8")
    conn.run("CREATE TABLE p8 (a int, b text)")
    conn.run("INSERT INTO p8 VALUES (:a, :b)", a=1, b="one")
    equal(conn.run("SELECT * FROM p8"), [[1, "one"]])
    equal([c["name"] for c in conn.columns], ["a", "b"])
    prepared = conn.prepare("SELECT CAST(:v AS int)")
    equal([prepared.run(v=i) for i in range(5)], [[[i]] for i in range(5)])
    prepared.close()
    try:
        conn.run("SELECT 1/0")
    except pg8000.native.DatabaseError as error:
        equal(error.args[0]["C"], "22012")
    conn.run("DROP TABLE p8")
    conn.close()


@check
def pg8000_dbapi():
    conn = pg8000.dbapi.connect(user="postgres", host=HOST, port=PORT, database="postgres")
    cur = conn.cursor()
    cur.execute("DROP TABLE IF EXISTS p8d")
    cur.execute("CREATE TABLE p8d (a int PRIMARY KEY, b numeric(10, 2))")
    cur.executemany("INSERT INTO p8d VALUES (%s, %s)", ((1, decimal.Decimal("1.5")), (2, None)))
    conn.commit()
    cur.execute("SELECT * FROM p8d ORDER BY a")
    equal(tuple(map(tuple, cur.fetchall())), ((1, decimal.Decimal("1.50")), (2, None)))
    cur.execute("DROP TABLE p8d")
    conn.commit()
    conn.close()


failed = 0
for function in CHECKS:
    started = time.time()
    try:
        function()
        print(f"ok    {function.__name__}  {time.time() - started:.2f} s")
    except Exception:
        failed += 1
        print(f"FAIL  {function.__name__}\n{traceback.format_exc(limit=-2)}")
sys.exit(1 if failed else 0)
