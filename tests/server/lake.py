#!/usr/bin/env python3
"""Reads a table's Iceberg export with pyiceberg and with DuckDB, and compares it with what SQL says of the same rows.

  lake.py PORT QUERY LOCATION

QUERY gives the rows with the names that they have in the export; LOCATION is the export's folder, or s3://… with the server and
its credentials in the environment. Prints the count of rows.
"""

import datetime
import decimal
import glob
import os
import pathlib
import sys
import uuid

import duckdb
import psycopg
from pyiceberg.table import StaticTable

port, query, location = sys.argv[1:]
server = os.environ.get("AWS_ENDPOINT")


def plain(value):
    """A value as all three have it."""
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return tuple(plain(item) for item in value)
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None).isoformat()
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (uuid.UUID, decimal.Decimal)):
        return str(value)
    return repr(value) if isinstance(value, float) else value


def rows(found):
    return sorted((tuple(plain(value) for value in row) for row in found), key=repr)


with psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres") as connection:
    cursor = connection.execute(query)
    names = [column.name for column in cursor.description]
    expected = rows(cursor.fetchall())


def compare(who, found):
    found = rows(found)
    if found != expected:
        wrong, lost = sorted(set(found) - set(expected), key=repr)[:3], sorted(set(expected) - set(found), key=repr)[:3]
        sys.exit(f"{who}: {len(found)} rows, not {len(expected)}\n  there alone: {wrong}\n  not there: {lost}")


properties = {}
if server:
    properties = {
        "s3.endpoint": server,
        "s3.access-key-id": os.environ["AWS_ACCESS_KEY_ID"],
        "s3.secret-access-key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "s3.region": os.environ["AWS_REGION"],
        "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
    }
table = StaticTable.from_metadata(location, properties)
arrow = table.scan().to_arrow()
assert "_vid" not in arrow.column_names, arrow.column_names
compare("pyiceberg", zip(*(arrow.column(name).to_pylist() for name in names)))

database = duckdb.connect(config={"allow_unsigned_extensions": "true", "autoinstall_known_extensions": "false"})
packages = pathlib.Path(duckdb.__file__).parent.parent
for name in ("httpfs", "avro", "iceberg"):
    [extension] = glob.glob(f"{packages}/duckdb_extension_{name}/**/{name}.duckdb_extension", recursive=True)
    database.execute(f"LOAD '{extension}'")
database.execute("SET TimeZone = 'UTC'")
if server:
    scheme, _, host = server.partition("://")
    database.execute(
        f"""CREATE SECRET (TYPE s3, KEY_ID '{os.environ["AWS_ACCESS_KEY_ID"]}', SECRET '{os.environ["AWS_SECRET_ACCESS_KEY"]}',
            REGION '{os.environ["AWS_REGION"]}', ENDPOINT '{host}', URL_STYLE 'path', USE_SSL {str(scheme == "https").lower()})"""
    )
columns = ", ".join(f'"{name}"' for name in names)
compare("DuckDB", database.execute(f"SELECT {columns} FROM iceberg_scan('{location}')").fetchall())
print(len(expected))
