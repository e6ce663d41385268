"""Clients that mean it ill, and what of them stays: memory, open files, an answer for everybody else.

    attacks.py GRPC REST PG REDIS OPS_PORT PID CONNECTIONS
"""

import os
import resource
import socket
import struct
import sys
import threading
import time
import urllib.request

import grpc
from perigee.v1 import key_value_pb2, key_value_pb2_grpc, sql_pb2, sql_pb2_grpc, time_series_pb2, time_series_pb2_grpc

door, rest, pg, redis, ops, process, connections = sys.argv[1:8]
connections = min(int(connections), resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 100)
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
# What may be held for a while beyond what was held before, MB: caches of the query engine, buffers of TCP.
SPARE_MB = 300


def resident():
    with open(f"/proc/{process}/status") as status:
        return next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmRSS:"))


def files():
    return len(os.listdir(f"/proc/{process}/fd"))


def metric(name):
    with urllib.request.urlopen(f"http://127.0.0.1:{ops}/metrics") as answer:
        return sum(float(line.rsplit(b" ", 1)[1]) for line in answer if line.startswith(name.encode()) and line[len(name) :][:1] in b" {")


def ask(text="SELECT 1", **options):
    with grpc.insecure_channel(door) as channel:
        request = sql_pb2.QueryRequest(statement=sql_pb2.Statement(sql=text))
        return list(sql_pb2_grpc.SqlStub(channel).Query(request, timeout=60, **options))


def until(what, is_so, patience=120):
    end = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def attack(what, work):
    files_before, memory_before = files(), resident()
    begun = time.monotonic()
    told = work() or ""
    assert ask()[-1].summary.command == "SELECT 1", what
    until(f"{what}: files stay open: {files()}, before {files_before}", lambda: files() <= files_before + 20)
    assert resident() <= memory_before + SPARE_MB, f"{what}: {resident()} MB, before {memory_before}"
    assert metric("perigee_grpc_panics_total") == 0, what
    print(f"{what}: {told} in {time.monotonic() - begun:.1f} s, {memory_before} MB before, {resident()} behind")


def who_does_not_read():
    """Results of gigabytes that nobody takes: the queries stand still, and the node holds next to nothing of them."""
    before = resident()
    with grpc.insecure_channel(door) as channel:
        stub = sql_pb2_grpc.SqlStub(channel)
        text = "SELECT i, repeat('x', 1000) FROM generate_series(1, 3000000) AS g (i)"
        streams = [stub.Query(sql_pb2.QueryRequest(statement=sql_pb2.Statement(sql=text))) for _ in range(20)]
        for stream in streams:
            next(stream)
        time.sleep(5)
        held = resident() - before
        assert held <= SPARE_MB, f"{held} MB are held for who does not read"
        for stream in streams:
            stream.cancel()
    until("cancelled queries go on", lambda: len(ask("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%generate_series%' AND state = 'active' AND pid <> pg_backend_pid()")) <= 2)
    return f"{held} MB for {len(streams)} results"


def thousands_of_calls():
    """More calls at a time than a connection may have, all dropped at once, again and again."""
    total = 0
    for _ in range(5):
        with grpc.insecure_channel(door) as channel:
            stub = sql_pb2_grpc.SqlStub(channel)
            request = sql_pb2.QueryRequest(statement=sql_pb2.Statement(sql="SELECT pg_sleep(30)"))
            calls = [stub.Query(request) for _ in range(1_000)]
            time.sleep(0.5)
            for call in calls:
                call.cancel()
            total += len(calls)
    until("calls that were dropped go on", lambda: metric("perigee_sessions") <= 5)
    return f"{total} calls"


def streams_that_stand_still():
    """Samples that are announced and never come."""
    stop = threading.Event()

    def samples():
        yield time_series_pb2.AddRequest(samples=[time_series_pb2.SeriesSample(key="slow", ts_ms=1, value=1)])
        stop.wait(60)

    with grpc.insecure_channel(door) as channel:
        stub = time_series_pb2_grpc.TimeSeriesStub(channel)
        calls = [stub.Add.future(samples()) for _ in range(50)]
        time.sleep(1)
        assert ask()[-1].summary.command == "SELECT 1"
        for call in calls:
            call.cancel()
        stop.set()
    return f"{len(calls)} streams"


def messages_that_are_too_large():
    with grpc.insecure_channel(door, [("grpc.max_send_message_length", -1)]) as channel:
        stub = key_value_pb2_grpc.KeyValueStub(channel)
        for megabytes in (17, 64, 200):
            try:
                stub.Set(key_value_pb2.SetRequest(key="large", text="x" * (megabytes << 20)), timeout=60)
                raise AssertionError(f"{megabytes} MB were taken")
            except grpc.RpcError as error:
                assert error.code() in (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE), error
    return "17, 64 and 200 MB"


def frames_that_lie():
    """HTTP/2 that says one thing and does another: each connection ends, or is let alone, by itself."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    def frame(kind, flags, stream, body, length=None):
        return struct.pack(">I", length if length is not None else len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body

    settings = frame(4, 0, 0, b"")
    for lie in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        preface + settings + frame(0, 0, 1, b"x", 0xFFFFFF),
        preface + settings + frame(1, 4, 0, b""),
        preface + settings + frame(8, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 4,
        preface + settings + frame(6, 0, 0, b"12345678") * 20_000,
        preface + settings + frame(4, 0, 0, b"") * 20_000,
        preface + settings + b"".join(frame(1, 5, 2 * n + 1, b"\x82") + frame(3, 0, 2 * n + 1, struct.pack(">I", 8)) for n in range(20_000)),
        preface + settings + frame(1, 0, 1, b"\x82\x86") + frame(9, 0, 1, b"\x00\x01a" + b"\x7f\xff\xff\x0f" + b"x" * 1_000) * 2_000,
        os.urandom(1 << 20),
    ):
        with socket.create_connection(door.rsplit(":", 1), timeout=10) as one:
            try:
                one.sendall(lie)
                one.settimeout(1)
                while one.recv(1 << 16):
                    pass
            except OSError:
                pass
    return "9 kinds"


def many_connections(name, address):
    def work():
        refused = metric("perigee_connections_refused_total")
        held = []
        try:
            for _ in range(connections):
                held.append(socket.create_connection(address.rsplit(":", 1), timeout=30))
        except OSError as error:
            print(f"{name}: {len(held)} connections, then {error}")
        time.sleep(1)
        counted = metric("perigee_connections_refused_total") - refused
        for one in held:
            one.close()
        # Places come free as those who have gone are seen to be gone.
        until(f"{name} lets nobody in", lambda: alive())
        return f"{len(held)} connections, {counted:.0f} refused"

    def alive():
        try:
            return ask()[-1].summary.command == "SELECT 1"
        except grpc.RpcError:
            return False

    attack(f"connections to {name}", work)


ask()
attack("results that nobody reads", who_does_not_read)
attack("calls that are dropped", thousands_of_calls)
attack("streams that stand still", streams_that_stand_still)
attack("messages that are too large", messages_that_are_too_large)
attack("frames that lie", frames_that_lie)
for name, address in (("gRPC", door), ("REST", rest), ("PostgreSQL", pg), ("Redis", redis)):
    many_connections(name, address)
