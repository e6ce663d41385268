#!/usr/bin/env python3
"""TPC-H over Perigee's cold files: by Perigee, by plain DataFusion, by DuckDB.

  lake.py PORT SF MOST REPEAT COLD TPCH
"""

import pathlib
import sys
import time

import datafusion
import duckdb
import psycopg

port, scale, most, repeat, cold, tpch = sys.argv[1:]
most, repeat, cold = float(most), int(repeat), pathlib.Path(cold)
sys.path.append(tpch)
import compare  # noqa: E402

perigee = psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres", autocommit=True)
plain = datafusion.SessionContext(datafusion.SessionConfig())
duck = duckdb.connect()
for table in compare.TABLES:
    (storage,) = perigee.execute("SELECT relfilenode FROM pg_class WHERE relname = %s", (table,)).fetchone()
    [folder] = cold.glob(f"*/1/{storage}")
    plain.register_parquet(table, f"{folder}/")
    duck.execute(f"CREATE VIEW {table} AS SELECT * EXCLUDE _vid FROM read_parquet('{folder}/*.parquet')")
    rows = {perigee.execute(f"SELECT count(*) FROM {table}").fetchone()[0]}
    rows.add(plain.sql(f"SELECT count(*) FROM {table}").to_pydict().popitem()[1][0])
    rows.add(duck.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    assert len(rows) == 1, f"{table}: {rows}"


def of_datafusion(sql):
    batches = plain.sql(sql).collect()
    return [row for batch in batches for row in zip(*(column.to_pylist() for column in batch.columns))]


askers = {
    "Perigee": lambda sql: perigee.execute(sql).fetchall(),
    "DataFusion": of_datafusion,
    "DuckDB": lambda sql: duck.execute(sql).fetchall(),
}
totals = dict.fromkeys(askers, 0.0)
wrong = []
print("      " + "".join(f"{who:>12}" for who in askers) + "    over DataFusion")
for number, sql in compare.queries(pathlib.Path(tpch), pathlib.Path(f"tpch-{scale}")).items():
    best, answers = {}, {}
    # In turn, so that what else the machine does meets all of them.
    for _ in range(repeat):
        for who, ask in askers.items():
            begin = time.perf_counter()
            rows = ask(sql)
            seconds = time.perf_counter() - begin
            best[who] = min(best.get(who, seconds), seconds)
            answers[who] = [[compare.plain(value) for value in row] for row in rows]
    for who in ("DataFusion", "DuckDB"):
        differs = compare.same(answers["Perigee"], answers[who])
        if differs is not None:
            wrong.append(f"Q{number}: Perigee's answer is not {who}'s: {differs}")
    for who, seconds in best.items():
        totals[who] += seconds
    over = best["Perigee"] / best["DataFusion"] - 1
    print(f"Q{number:<5}" + "".join(f"{best[who]:12.3f}" for who in askers) + f"{over:+12.0%}", flush=True)
over = totals["Perigee"] / totals["DataFusion"] - 1
print("sum   " + "".join(f"{seconds:12.3f}" for seconds in totals.values()) + f"{over:+12.0%}")
if wrong:
    sys.exit("\n".join(wrong))
if over > most:
    sys.exit(f"{over:.0%} over plain DataFusion, at most {most:.0%} is wanted")
