#!/usr/bin/env python3
"""Loads and questions for integration/memory/run: check.py NAME PORT PID [ARGUMENTS]."""

import random
import sys
import threading
import time

import psycopg

NAME, PORT, PID = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ARGUMENTS = sys.argv[4:]
ROW_BYTES = 120


def connect(**options):
    return psycopg.connect(f"host=127.0.0.1 port={PORT} user=postgres dbname=postgres", autocommit=True, **options)


def value(connection, sql, *parameters):
    return connection.execute(sql, parameters or None).fetchone()[0]


def resident_mb():
    with open(f"/proc/{PID}/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS:"))


def check(condition, text):
    if not condition:
        sys.exit(f"FAILED: {text}")


def text_of(number):
    """A text that no compression folds away."""
    return random.Random(number).randbytes(ROW_BYTES // 2).hex()


def copy_rows(connection, table, first, last):
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        block = []
        for number in range(first, last):
            block.append(f"{number}\t{number % 1000}\t{number * 0.5}\t{text_of(number)}\n")
            if len(block) == 1000:
                copy.write("".join(block))
                block.clear()
        copy.write("".join(block))


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1000


def point_reads(connection, count, seconds):
    """Point reads of random keys; gives their times."""
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        key = random.randrange(count)
        begin = time.perf_counter()
        row = connection.execute("SELECT text FROM big WHERE id = %s", [key], prepare=True).fetchone()
        times.append(time.perf_counter() - begin)
        check(row == (text_of(key),), f"row {key}: {row}")
    return times


def tenfold(megabytes):
    count = int(megabytes) * 1_000_000 // (ROW_BYTES + 24)
    connection = connect()
    connection.execute("CREATE TABLE big (id bigint PRIMARY KEY, part int, number float8, text text)")
    connection.execute("CREATE INDEX big_part ON big (part)")
    begin, peak, step = time.perf_counter(), 0, 200_000
    for first in range(0, count, step):
        copy_rows(connection, "big", first, min(first + step, count))
        peak = max(peak, resident_mb())
    print(f"{count} rows in {time.perf_counter() - begin:.1f} s, at most {peak} MB resident")
    questions(connection, count)


def tenfold_again(megabytes):
    questions(connect(), int(megabytes) * 1_000_000 // (ROW_BYTES + 24))


def questions(connection, count):
    begin = time.perf_counter()
    check(value(connection, "SELECT count(*) FROM big") == count, "rows are missing")
    print(f"count(*) in {time.perf_counter() - begin:.2f} s")
    begin = time.perf_counter()
    total = value(connection, "SELECT sum(number) FROM big")
    check(total == sum(range(count)) * 0.5, f"the sum is {total}")
    print(f"sum in {time.perf_counter() - begin:.2f} s")
    begin = time.perf_counter()
    check(value(connection, "SELECT count(*) FROM big WHERE part = 7") == len(range(7, count, 1000)), "by index")
    print(f"by index in {time.perf_counter() - begin:.2f} s")
    times = point_reads(connection, count, 5)
    print(f"warm point reads: {len(times) / sum(times):.0f} /s, p50 {percentile(times, 0.5):.2f} ms, "
          f"p99 {percentile(times, 0.99):.2f} ms")
    check(len(times) > 100, "point reads are slow")


def join():
    connection = connect()
    begin = time.perf_counter()
    # A hash table of either side is beyond the queries' share.
    rows = value(connection, "SELECT count(*) FROM big a JOIN big b ON a.text = b.text AND a.id = b.id")
    check(rows == value(connection, "SELECT count(*) FROM big"), f"{rows} rows")
    print(f"{rows} rows joined in {time.perf_counter() - begin:.1f} s")


def snapshot():
    connection, other = connect(), connect()
    connection.autocommit = False
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    before = connection.execute("SELECT count(*), sum(number), min(text) FROM big").fetchone()
    other.execute("CREATE TABLE noise (id bigint PRIMARY KEY, part int, number float8, text text)")
    for first in range(0, 600_000, 200_000):
        other.execute("UPDATE big SET number = number + 1 WHERE part = 3")
        other.execute("DELETE FROM big WHERE part = 999 AND id >= %s AND id < %s", [first, first + 200_000])
        copy_rows(other, "noise", first, first + 200_000)
        other.execute("VACUUM")
    after = connection.execute("SELECT count(*), sum(number), min(text) FROM big").fetchone()
    connection.rollback()
    check(before == after, f"the snapshot has moved from {before} to {after}")
    check(other.execute("SELECT count(*) FROM big").fetchone()[0] < before[0], "nothing was deleted")
    # Put back what later checks count on.
    count = before[0]
    for number in range(999, 600_000, 1000):
        if number < count:
            other.execute("INSERT INTO big VALUES (%s, %s, %s, %s)", [number, 999, number * 0.5, text_of(number)])
    other.execute("UPDATE big SET number = id * 0.5 WHERE part = 3")
    other.execute("DROP TABLE noise")
    print(f"the snapshot has kept {count} rows")


def updates():
    connection = connect()
    connection.execute("CREATE TABLE hot (id int PRIMARY KEY, n bigint)")
    connection.execute("INSERT INTO hot SELECT x, 0 FROM generate_series(1, 10) AS g(x)")

    def scan():
        times = []
        for _ in range(50):
            begin = time.perf_counter()
            connection.execute("SELECT count(*), sum(n) FROM hot").fetchone()
            times.append(time.perf_counter() - begin)
        return sorted(times)[25] * 1000

    before, done, begin = scan(), [], time.perf_counter()

    def work():
        mine = connect()
        for _ in range(100_000 // 8):
            mine.execute("UPDATE hot SET n = n + 1 WHERE id = 1", prepare=True)
        done.append(True)

    threads = [threading.Thread(target=work) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    seconds = time.perf_counter() - begin
    check(len(done) == 8, "an updating session has failed")
    check(value(connection, "SELECT n FROM hot WHERE id = 1") == 100_000, "updates are missing")
    time.sleep(1)
    after = scan()
    print(f"100,000 updates of one row in {seconds:.1f} s; a scan took {before:.2f} ms before and {after:.2f} ms after")
    check(after < max(3 * before, before + 3), "the table has become slow")


def bulk(megabytes):
    count = int(megabytes) * 1_000_000 // (ROW_BYTES + 24)
    connection = connect()
    connection.execute("CREATE TABLE big (id bigint PRIMARY KEY, part int, number float8, text text)")
    copy_rows(connection, "big", 0, 100_000)
    times, peak, stop = [], [0], threading.Event()

    def read():
        mine = connect()
        while not stop.is_set():
            times.extend(point_reads(mine, 100_000, 0.5))
            peak[0] = max(peak[0], resident_mb())

    reader = threading.Thread(target=read)
    reader.start()
    begin = time.perf_counter()
    try:
        # One statement, one transaction.
        copy_rows(connection, "big", 100_000, 100_000 + count)
        seconds = time.perf_counter() - begin
    finally:
        stop.set()
        reader.join()
    print(f"{count} rows in {seconds:.1f} s ({count / seconds:.0f} rows/s, with the client's own work), "
          f"at most {peak[0]} MB resident")
    print(f"point reads beside it: {len(times)}, p50 {percentile(times, 0.5):.2f} ms, p99 {percentile(times, 0.99):.2f} ms, "
          f"max {max(times) * 1000:.1f} ms")
    check(peak[0] <= 768 + 256, "more than the root budget + 256 MB")
    check(value(connection, "SELECT count(*) FROM big") == count + 100_000, "rows are missing")
    check(percentile(times, 0.99) < 250, "point reads are slow beside a bulk load")


def devices(count):
    count = int(count)
    connection = connect()
    connection.execute(
        "CREATE TABLE reading (device int, at timestamptz, value float8, note text, PRIMARY KEY (device, at))"
    )
    begin = time.perf_counter()
    with connection.cursor() as cursor, cursor.copy("COPY reading FROM STDIN") as copy:
        for first in range(0, count, 1000):
            copy.write("".join(
                f"{n % 100}\t2025-01-01 {n // 100 // 3600 % 24:02}:{n // 100 // 60 % 60:02}:{n // 100 % 60:02}+00\t{n * 0.1}\t\\N\n"
                if n // 100 < 86400 else "" for n in range(first, min(first + 1000, count))
            ))
    rows = value(connection, "SELECT count(*) FROM reading")
    check(rows == count, f"{rows} rows")
    print(f"{rows} device rows in {time.perf_counter() - begin:.1f} s, {resident_mb()} MB resident")
    busiest = connection.execute(
        "SELECT device, count(*), avg(value) FROM reading GROUP BY device ORDER BY device LIMIT 3").fetchall()
    check(busiest[0][1] == count // 100, f"{busiest}")


globals()[NAME](*ARGUMENTS)
