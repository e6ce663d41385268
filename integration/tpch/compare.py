#!/usr/bin/env python3
"""TPC-H answers: DuckDB's, Perigee's, and whether they are the same.

  compare.py expect DATA HERE             DuckDB's answers and times, on the files in DATA
  compare.py run    DATA HERE PORT TIER   Perigee's answers, compared; its times are kept as TIER
  compare.py table  DATA HERE             all times
"""

import datetime
import decimal
import json
import pathlib
import re
import sys
import time

TABLES = "region nation supplier customer part partsupp orders lineitem".split()
REPEAT = 3


def queries(here, data):
    """The queries by number; Q11's fraction depends on the scale factor."""
    scale = float(data.name.split("-", 1)[1])
    text = (here / "queries.sql").read_text().replace(":fraction", f"{0.0001 / scale:.10f}")
    parts = re.split(r"^-- Q(\d+)$", text, flags=re.M)[1:]
    return {int(number): sql.strip().rstrip(";") for number, sql in zip(parts[::2], parts[1::2])}


def plain(value):
    """A value as JSON has it."""
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.datetime):
        return str(value.date()) if value.time() == datetime.time() else str(value)
    if isinstance(value, datetime.date):
        return str(value)
    return value.rstrip() if isinstance(value, str) else value


def timed(run):
    """The rows of the last run, and the time of the best one."""
    best, rows = None, None
    for _ in range(REPEAT):
        begin = time.perf_counter()
        rows = run()
        seconds = time.perf_counter() - begin
        best = seconds if best is None else min(best, seconds)
    return [[plain(value) for value in row] for row in rows], best


def expect(data, here):
    import duckdb

    if (data / "expected.json").exists():
        return
    connection = duckdb.connect()
    connection.execute((here / "schema.sql").read_text())
    for table in TABLES:
        connection.execute(f"COPY {table} FROM '{data}/{table}.tbl' (DELIMITER '|', HEADER false)")
    answers, times = {}, {}
    for number, sql in queries(here, data).items():
        answers[number], times[number] = timed(lambda: connection.execute(sql).fetchall())
    (data / "expected.json").write_text(json.dumps(answers))
    (data / "duckdb.json").write_text(json.dumps(times))


def same_value(one, other):
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other) <= 1e-6 * max(1.0, abs(one), abs(other))
    return one == other


def same(rows, expected):
    """None, or what differs. Rows that the query leaves in any order may come in any order."""
    if len(rows) != len(expected):
        return f"{len(rows)} rows instead of {len(expected)}"

    def key(row):
        return [f"{value:.3f}" if isinstance(value, (int, float)) else str(value) for value in row]

    differs = None
    for one, other in ((rows, expected), (sorted(rows, key=key), sorted(expected, key=key))):
        pairs = zip(one, other)
        differs = next(
            (f"{a} instead of {b}" for a, b in pairs if len(a) != len(b) or not all(map(same_value, a, b))), None
        )
        if differs is None:
            return None
    return differs


def run(data, here, port, tier):
    import psycopg

    expected = json.loads((data / "expected.json").read_text())
    connection = psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres", autocommit=True)
    times, wrong = {}, []
    for number, sql in queries(here, data).items():
        try:
            rows, times[number] = timed(lambda: connection.execute(sql).fetchall())
            differs = same(rows, expected[str(number)])
        except psycopg.Error as error:
            differs = str(error).strip().replace("\n", " ")
        verdict = f"{times[number]:8.3f} s" if differs is None else f"WRONG: {differs}"
        print(f"Q{number:<3} {verdict}", flush=True)
        if differs is not None:
            wrong.append(number)
            if connection.closed:
                break
    (data / f"{tier}.json").write_text(json.dumps(times))
    if wrong:
        sys.exit(f"{len(wrong)} of 22 answers are not DuckDB's: {wrong}")
    print(f"all 22 answers are DuckDB's ({tier})")


def table(data, here):
    columns = {name: json.loads((data / f"{name}.json").read_text()) for name in ("hot", "warm", "duckdb")}
    print("      " + "".join(f"{name:>10}" for name in columns))
    for number in queries(here, data):
        print(f"Q{number:<5}" + "".join(f"{times[str(number)]:10.3f}" for times in columns.values()))
    print("sum   " + "".join(f"{sum(times.values()):10.3f}" for times in columns.values()))


if __name__ == "__main__":
    command, data, here = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    if command == "expect":
        expect(data, here)
    elif command == "run":
        run(data, here, int(sys.argv[4]), sys.argv[5])
    else:
        table(data, here)
