"""Results as Arrow, read by pyarrow and compared with what psycopg reads of the same rows.

    clients.py REST_ADDRESS PG_PORT
"""

import json
import sys
import urllib.request

import psycopg
import pyarrow.ipc

rest, port = sys.argv[1], sys.argv[2]
ROWS = 200_000


def ask(statement, accept="application/json"):
    body = json.dumps({"sql": statement}).encode()
    headers = {"Content-Type": "application/json", "Accept": accept}
    return urllib.request.urlopen(urllib.request.Request(f"http://{rest}/v1/sql", body, headers))


ask(
    f"""CREATE TYPE colour AS ENUM ('red', 'green');
        CREATE TABLE wide (id bigint PRIMARY KEY, d numeric(12, 3), n numeric, t text, b bytea, at timestamptz, day date, f double precision,
                           ok boolean, tags text[], j jsonb, u uuid, c colour);
        INSERT INTO wide SELECT i, i * 0.125, (i::text || '.50')::numeric, 'row ' || i, decode(lpad(to_hex(i), 8, '0'), 'hex'),
            '2026-01-01 00:00:00+00'::timestamptz + i * interval '1 second', '2026-01-01'::date + i % 365, i / 3.0, i % 2 = 0,
            ARRAY['a' || i % 7, NULL], jsonb_build_object('i', i), '00000000-0000-4000-8000-000000000000'::uuid,
            CASE WHEN i % 2 = 0 THEN 'red' ELSE 'green' END::colour FROM generate_series(1, {ROWS}) AS g (i)"""
)
with ask("SELECT * FROM wide ORDER BY id", "application/vnd.apache.arrow.stream") as answer:
    table = pyarrow.ipc.open_stream(answer).read_all()
assert table.num_rows == ROWS, table.num_rows
with psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres") as connection:
    rows = connection.execute("SELECT id, d, n, t, b, at, day, f, ok, tags, j, u, c::text FROM wide WHERE id % 9973 = 1 ORDER BY id").fetchall()
assert rows
for row in rows:
    found = {name: column[row[0] - 1].as_py() for name, column in zip(table.column_names, table.columns)}
    expected = dict(zip(table.column_names, row))
    expected["n"] = str(expected["n"])
    found["j"] = json.loads(found["j"])
    if isinstance(found["u"], bytes):
        expected["u"] = expected["u"].bytes
    assert found == expected, (found, expected)
with ask("SELECT * FROM wide", "application/x-ndjson") as answer:
    assert sum(1 for line in answer if json.loads(line)) == ROWS
print(f"{ROWS} rows as Arrow and as NDJSON")
