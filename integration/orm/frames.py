"""pandas: frames into tables and back. `frames.py HOST PORT`"""

import sys

import pandas as pd
import sqlalchemy as sa

engine = sa.create_engine(f"postgresql+psycopg://postgres@{sys.argv[1]}:{sys.argv[2]}/postgres")
days = pd.date_range("2024-01-01", periods=1000, freq="h", tz="UTC")
frame = pd.DataFrame({"at": days, "value": [i / 7 for i in range(1000)], "name": ["é", None] * 500, "n": range(1000)})
frame.to_sql("frame", engine, index=False, if_exists="replace")
frame.to_sql("frame", engine, index=False, if_exists="append", method="multi", chunksize=250)
back = pd.read_sql_table("frame", engine)
assert len(back) == 2000 and list(back.columns) == ["at", "value", "name", "n"], back
assert str(back["at"].dtype).endswith("UTC]") and back["value"].sum() == frame["value"].sum() * 2, back.dtypes
some = pd.read_sql_query(sa.text("SELECT * FROM frame WHERE at < :t ORDER BY at"), engine, params={"t": days[10]})
assert list(some["n"]) == [n for n in range(10) for _ in (1, 2)], some
assert sum(len(part) for part in pd.read_sql("SELECT * FROM frame", engine, chunksize=300)) == 2000
frame.set_index("at").to_sql("frame", engine, if_exists="replace")
assert sa.inspect(engine).get_indexes("frame")[0]["column_names"] == ["at"]
with engine.begin() as connection:
    connection.execute(sa.text("DROP TABLE frame"))
print("ok")
