"""Sends readings to a server by one way, and prints how many of them came in each second.

    ingest.py make ROWS FOLDER
    ingest.py copy|flight|rest|lines|ingest|samples ROWS FOLDER PG_PORT REST GRPC REDIS CLIENTS

What is sent stands in files before the clock runs. What has come in is counted, and summed up, behind it.
"""

import concurrent.futures
import http.client
import itertools
import os
import random
import socket
import struct
import sys
import threading
import time

import psycopg
import pyarrow
import pyarrow.csv
import pyarrow.ipc

DEVICES = 100
START_S = 1_767_225_600
BATCH = 100_000
# Readings of one request, and of one TS.MADD.
LINES, MESSAGES, SAMPLES = 5_000, 1_000, 100

what, rows, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
schema = pyarrow.schema([("device", pyarrow.string()), ("at", pyarrow.timestamp("us", tz="UTC")), ("celsius", pyarrow.float64())])


def readings(begin, end):
    """Number, device, second and value of each: every device has one a second."""
    values = random.Random(begin)
    for number in range(begin, end):
        yield number, number % DEVICES, START_S + number // DEVICES, round(values.uniform(-20, 80), 2)


def file(ending):
    return os.path.join(folder, f"readings.{ending}")


def parts(ending):
    """Bodies of requests, each behind its length."""
    with open(file(ending), "rb") as source:
        while head := source.read(4):
            yield source.read(struct.unpack(">I", head)[0])


def make():
    def write(part, ending):
        out[ending].write(struct.pack(">I", len(part)) + part)

    out = {ending: open(file(ending), "wb") for ending in ("lines", "messages", "samples")}
    with pyarrow.OSFile(file("arrow"), "wb") as sink, pyarrow.ipc.new_stream(sink, schema) as arrow, pyarrow.csv.CSVWriter(
        file("csv"), schema, write_options=pyarrow.csv.WriteOptions(include_header=False)
    ) as csv:
        for begin in range(0, rows, BATCH):
            batch = list(readings(begin, min(begin + BATCH, rows)))
            names = pyarrow.array([f"device-{device}" for _, device, _, _ in batch])
            at = pyarrow.array([second * 1_000_000 for _, _, second, _ in batch], pyarrow.timestamp("us", tz="UTC"))
            table = pyarrow.record_batch([names, at, pyarrow.array([value for *_, value in batch])], schema=schema)
            arrow.write_batch(table)
            csv.write_batch(table)
            for part in chunks(batch, LINES):
                write("\n".join(f"readings,device=device-{d} celsius={v} {s}" for _, d, s, v in part).encode(), "lines")
            for part in chunks(batch, MESSAGES):
                messages = (f'{{"device_id":"device-{d}","ts":{s},"seq":{n},"metrics":{{"celsius":{v}}}}}' for n, d, s, v in part)
                write("\n".join(messages).encode(), "messages")
            for part in chunks(batch, SAMPLES):
                words = ["TS.MADD"]
                for _, d, s, v in part:
                    words += [f"device-{d}", str(s * 1_000), str(v)]
                write(command(*words), "samples")
    for one in out.values():
        one.close()


def chunks(items, length):
    return (items[at : at + length] for at in range(0, len(items), length))


def command(*words):
    return f"*{len(words)}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words)


def connect():
    return psycopg.connect(f"host=127.0.0.1 port={sys.argv[4]} user=postgres dbname=postgres", autocommit=True)


def table(cursor):
    cursor.execute("CREATE TABLE readings (device text NOT NULL, at timestamptz NOT NULL, celsius double precision NOT NULL, PRIMARY KEY (device, at))")


def shared(ending, client):
    """Runs `client` on as many threads as there are clients, each with the parts that it takes."""
    source, clients = parts(ending), int(sys.argv[8])
    taken = threading.Lock()

    def mine():
        while True:
            with taken:
                part = next(source, None)
            if part is None:
                return
            yield part

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(client, mine()) for _ in range(clients)]:
            done.result()


def posts(path, content, expected):
    def client(bodies):
        connection = http.client.HTTPConnection(sys.argv[5], timeout=600)
        for body in bodies:
            connection.request("POST", path, body, {"Content-Type": content})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == expected, (answer.status, text)

    return client


def madd(commands):
    host, _, port = sys.argv[7].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=600) as connection:
        replies = connection.makefile("rb")
        for some in chunks_of(commands, 10):
            connection.sendall(b"".join(some))
            for _ in some:
                head = replies.readline()
                assert head[:1] == b"*", head
                for _ in range(int(head[1:])):
                    reply = replies.readline()
                    assert reply[:1] == b":", reply


def chunks_of(items, length):
    items = iter(items)
    while some := list(itertools.islice(items, length)):
        yield some


def copy(cursor):
    table(cursor)
    begun = time.monotonic()
    with cursor.copy("COPY readings FROM STDIN WITH (FORMAT csv)") as into, open(file("csv"), "rb") as source:
        while part := source.read(1 << 20):
            into.write(part)
    return begun, "SELECT count(*), sum(celsius) FROM readings"


def flight(cursor):
    import adbc_driver_flightsql.dbapi

    table(cursor)
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{sys.argv[6]}", autocommit=True) as connection, connection.cursor() as ours:
        begun = time.monotonic()
        with pyarrow.memory_map(file("arrow")) as source:
            ours.adbc_ingest("readings", pyarrow.ipc.open_stream(source), mode="append")
    return begun, "SELECT count(*), sum(celsius) FROM readings"


def rest(cursor):
    table(cursor)
    begun = time.monotonic()
    connection = http.client.HTTPConnection(sys.argv[5], timeout=600)
    with open(file("arrow"), "rb") as source:
        headers = {"Content-Type": "application/vnd.apache.arrow.stream", "Content-Length": str(os.path.getsize(file("arrow")))}
        connection.request("POST", "/v1/tables/readings/load", source, headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 201, (answer.status, text)
    return begun, "SELECT count(*), sum(celsius) FROM readings"


def lines(_):
    begun = time.monotonic()
    shared("lines", posts("/api/v2/write?precision=s", "text/plain", 204))
    return begun, "SELECT count(*), sum(celsius) FROM readings"


def ingest(_):
    begun = time.monotonic()
    shared("messages", posts("/ingest", "application/x-ndjson", 202))
    return begun, "SELECT count(*), sum(value) FROM readings"


def samples(_):
    host, _, port = sys.argv[7].rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        replies = connection.makefile("rb")
        for device in range(DEVICES):
            connection.sendall(command("TS.CREATE", f"device-{device}"))
            assert replies.readline() == b"+OK\r\n"
    begun = time.monotonic()
    shared("samples", madd)
    return begun, "SELECT count(*), sum(value) FROM redis.samples"


if what == "make":
    make()
else:
    with connect() as connection, connection.cursor() as cursor:
        begun, check = {"copy": copy, "flight": flight, "rest": rest, "lines": lines, "ingest": ingest, "samples": samples}[what](cursor)
        took = time.monotonic() - begun
        found, total = cursor.execute(check).fetchone()
        # Added up in another order.
        wanted = sum(value for begin in range(0, rows, BATCH) for *_, value in readings(begin, min(begin + BATCH, rows)))
        assert found == rows and abs(total - wanted) < 1e-6 * rows, (found, rows, total, wanted)
    print(round(rows / took))
