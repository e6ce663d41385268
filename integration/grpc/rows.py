"""Rows by ADBC's driver of Arrow Flight SQL: written at once, read at once, and what comes back is what was sent.

    rows.py GRPC_ADDRESS ROWS
"""

import sys
import time

import adbc_driver_flightsql.dbapi as flight
import pyarrow
import pyarrow.compute as compute

address, count = f"grpc://{sys.argv[1]}", int(sys.argv[2])
numbers = pyarrow.array(range(count), pyarrow.int64())
sent = pyarrow.table(
    {
        "id": numbers,
        "device": compute.binary_join_element_wise("device-", compute.cast(compute.bit_wise_and(numbers, 1023), pyarrow.string()), ""),
        "at": compute.cast(compute.add(compute.multiply(numbers, 1_000_000), 1_767_225_600_000_000), pyarrow.timestamp("us", tz="UTC")),
        "celsius": compute.if_else(compute.equal(compute.bit_wise_and(numbers, 63), 0), None, compute.divide(compute.cast(numbers, pyarrow.float64()), 7.0)),
    }
)
with flight.connect(address, autocommit=True) as connection, connection.cursor() as cursor:
    begun = time.monotonic()
    written = cursor.adbc_ingest("arrow_rows", sent.to_reader(max_chunksize=50_000), mode="create")
    took = time.monotonic() - begun
    print(f"{count} rows written, {count / took:,.0f} a second")
    assert written in (count, -1), written
    begun = time.monotonic()
    cursor.execute("SELECT id, device, at, celsius FROM arrow_rows ORDER BY id")
    found = cursor.fetch_arrow_table()
    print(f"{count} rows read, {count / (time.monotonic() - begun):,.0f} a second")
    assert found.num_rows == count
    for name in sent.column_names:
        same = found.column(name).cast(sent.schema.field(name).type).combine_chunks().equals(sent.column(name).combine_chunks())
        assert same, f"{name} is not what was sent"
    # Of a load that breaks off nothing stays.
    torn = pyarrow.table({"id": pyarrow.array([count, count + 1, 0]), "device": ["x", "y", None]})
    cursor.execute("CREATE UNIQUE INDEX ON arrow_rows (id)")
    try:
        cursor.adbc_ingest("arrow_rows", torn, mode="append")
        raise AssertionError("a row came twice")
    except flight.Error:
        pass
    cursor.execute("SELECT count(*) FROM arrow_rows")
    assert cursor.fetchone() == (count,)
    cursor.execute("DROP TABLE arrow_rows")
