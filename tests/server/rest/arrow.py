"""Arrow and Parquet over REST, by pyarrow: what is loaded comes back.

    arrow.py REST_ADDRESS
"""

import datetime
import decimal
import io
import json
import sys
import urllib.error
import urllib.request

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

rest = sys.argv[1]
ROWS = 100_000
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"


def send(path, body, kind, accept="application/json"):
    headers = {"Content-Type": kind, "Accept": accept}
    return urllib.request.urlopen(urllib.request.Request(f"http://{rest}{path}", body, headers))


def sql(statement, accept="application/json"):
    return send("/v1/sql", statement.encode(), "text/plain", accept)


def arrow(table, **options):
    out = io.BytesIO()
    with pyarrow.ipc.new_stream(out, table.schema, options=pyarrow.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=30_000)
    return out.getvalue()


def parquet(table, **options):
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out, **options)
    return out.getvalue()


def load(body, kind, path="/v1/tables/wide/load"):
    return json.load(send(path, body, kind))["loaded"]


def refused(body, kind, path="/v1/tables/wide/load"):
    try:
        send(path, body, kind)
    except urllib.error.HTTPError as error:
        return json.load(error)
    raise AssertionError("it was loaded")


sql(
    """CREATE TABLE wide (id bigint PRIMARY KEY, small smallint, d numeric(12, 3), n numeric, t text, b bytea, at timestamptz,
       local timestamp, day date, clock time, long interval, f double precision, ok boolean, tags text[], j jsonb, u uuid, v vector(2))"""
).close()
start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
numbers = range(ROWS)


def column(make, ty):
    # Every eleventh value is NULL.
    return pyarrow.array([None if n % 11 == 10 else make(n) for n in numbers], ty)


table = pyarrow.table(
    {
        "id": pyarrow.array(numbers, pyarrow.int32()),
        "small": column(lambda n: n % 30_000, pyarrow.int64()),
        "d": column(lambda n: decimal.Decimal(n) / 8, pyarrow.decimal128(12, 3)),
        "n": column(lambda n: f"{n}.50", pyarrow.string()),
        "t": column(lambda n: f"row {n % 100}", pyarrow.string()).dictionary_encode(),
        "b": column(lambda n: n.to_bytes(4, "big"), pyarrow.binary()),
        "at": column(lambda n: start + datetime.timedelta(seconds=n), pyarrow.timestamp("ns", "UTC")),
        "local": column(lambda n: start.replace(tzinfo=None) + datetime.timedelta(milliseconds=n), pyarrow.timestamp("ms")),
        "day": column(lambda n: datetime.date(2026, 1, 1) + datetime.timedelta(days=n % 365), pyarrow.date32()),
        "clock": column(lambda n: datetime.time(n % 24, n % 60, 1), pyarrow.time32("s")),
        "f": column(lambda n: n / 3, pyarrow.float64()),
        "ok": column(lambda n: n % 2 == 0, pyarrow.bool_()),
        "tags": column(lambda n: [f"a{n % 7}", None], pyarrow.large_list(pyarrow.large_string())),
        "j": column(lambda n: json.dumps({"i": n}), pyarrow.string()),
        "u": column(lambda n: n.to_bytes(16, "big"), pyarrow.binary(16)),
        "v": column(lambda n: [n, 0.5], pyarrow.list_(pyarrow.float32(), 2)),
    }
)
expected = {
    name: [
        None if value is None else {"n": decimal.Decimal, "j": json.loads}.get(name, lambda value: value)(value)
        for value in values
    ]
    for name, values in table.to_pydict().items()
}

bodies = [
    (arrow(table), ARROW),
    (arrow(table, compression="zstd"), ARROW),
    (parquet(table), PARQUET),
    (parquet(table, compression="gzip", row_group_size=7_000, version="1.0", store_schema=False), PARQUET),
]
assert refused(arrow(table, compression="lz4"), ARROW)["sqlstate"] == "0A000"
for body, kind in bodies:
    assert load(body, kind) == ROWS
    for accept in (ARROW, PARQUET):
        with sql("SELECT * FROM wide ORDER BY id", accept) as answer:
            read = io.BytesIO(answer.read())
        found = pyarrow.ipc.open_stream(read).read_all() if accept == ARROW else pyarrow.parquet.read_table(read)
        assert found.num_rows == ROWS, found.num_rows
        for name, values in expected.items():
            got = found.column(name).to_pylist()
            if name in ("n", "j"):
                convert = decimal.Decimal if name == "n" else json.loads
                got = [None if value is None else convert(value) for value in got]
            if name == "u":
                got = [None if value is None else getattr(value, "bytes", value) for value in got]
            if name == "at" and kind == PARQUET:
                # The first version of Parquet has no nanoseconds.
                assert [value and value.timestamp() for value in got] == [value and value.timestamp() for value in values]
                continue
            assert [str(value) for value in got] == [str(value) for value in values] if name == "at" else got == values, (kind, accept, name)
    sql("DELETE FROM wide").close()

# Some columns, and those that the table does not have.
part = table.slice(0, 10)
assert load(arrow(part), ARROW, "/v1/tables/wide/load?columns=t,id") == 10
with sql("SELECT id, t, f FROM wide ORDER BY id LIMIT 1") as answer:
    assert json.load(answer)["rows"] == [{"id": 0, "t": "row 0", "f": None}]
assert load(parquet(table.slice(10, 10)), PARQUET, "/v1/tables/wide/load?columns=f,id") == 10
problem = refused(arrow(part.rename_columns(["other"] + part.column_names[1:])), ARROW)
assert problem["sqlstate"] == "42703", problem

# The row that is wrong.
for body, kind in ((arrow(table), ARROW), (parquet(table), PARQUET)):
    problem = refused(body, kind)
    assert (problem["status"], problem["sqlstate"], problem["row"]) == (409, "23505", 1), problem
sql("DELETE FROM wide").close()
wrong = table.set_column(1, "small", pyarrow.array([70_000 if n == 54_321 else 1 for n in numbers], pyarrow.int64()))
for body, kind in ((arrow(wrong), ARROW), (parquet(wrong), PARQUET)):
    problem = refused(body, kind)
    assert (problem["sqlstate"], problem["row"], problem["context"]) == ("22003", 54_322, "COPY wide, row 54322, column small"), problem
problem = refused(arrow(pyarrow.table({"id": [{"a": 1}]})), ARROW)
assert problem["sqlstate"] == "42804", problem
for body, kind in bodies:
    for end in (len(body) // 2, len(body) - 9):
        problem = refused(body[:end], kind)
        assert problem["sqlstate"] == "22P04", problem
with sql("SELECT count(*) AS n FROM wide") as answer:
    assert json.load(answer)["rows"] == [{"n": 0}]

# Intervals have no form in Parquet but their text; nothing is a file without rows, and a command has none.
with sql("SELECT interval '1 day 2 hours' AS i, NULL AS x", PARQUET) as answer:
    assert pyarrow.parquet.read_table(io.BytesIO(answer.read())).to_pylist() == [{"i": "1 day 02:00:00", "x": None}]
with sql("SELECT * FROM wide", PARQUET) as answer:
    assert pyarrow.parquet.read_table(io.BytesIO(answer.read())).num_rows == 0
with sql("DELETE FROM wide", PARQUET) as answer:
    assert answer.read() == b""
print(f"{ROWS} rows as Arrow and as Parquet, there and back")
