"""Slow, half and hostile clients of a Redis door, over sockets: hostile.py PORT [SCALE [PID]].

SCALE multiplies what is sent; PID is the server's process, whose memory must stay bounded. Ends with an error at the first
thing that is wrong. HOSTILE_ONLY names parts to run, HOSTILE_VERBOSE shows how much memory each has taken.
"""

import os
import random
import socket
import struct
import sys
import time

PORT = int(sys.argv[1])
SCALE = float(sys.argv[2]) if len(sys.argv) > 2 else 1
PID = int(sys.argv[3]) if len(sys.argv) > 3 else None
# What a server may take on for clients of this script, beside what they have stored.
GROWTH_MAX_MB = 256
PATIENCE = 60


class Closed(Exception):
    """The server has closed the connection."""


class Connection:
    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=PATIENCE)
        self.buffer = b""

    def send(self, *args):
        parts = [b"*%d\r\n" % len(args)]
        for arg in args:
            arg = arg if isinstance(arg, bytes) else str(arg).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
        self.raw(b"".join(parts))

    def raw(self, data):
        self.socket.sendall(data)

    def fill(self):
        try:
            piece = self.socket.recv(1 << 16)
        except ConnectionResetError:
            piece = b""
        if not piece:
            raise Closed
        self.buffer += piece

    def line(self):
        while b"\r\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def receive(self):
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind in b"+:,#(_":
            return int(rest) if kind == b":" else rest.decode()
        if kind == b"-":
            return RuntimeError(rest.decode())
        if kind in b"$=":
            length = int(rest)
            if length < 0:
                return None
            while len(self.buffer) < length + 2:
                self.fill()
            value, self.buffer = self.buffer[:length], self.buffer[length + 2 :]
            return value.decode("latin-1")
        assert kind in b"*~>%", line
        count = int(rest) * (2 if kind == b"%" else 1)
        return None if count < 0 else [self.receive() for _ in range(count)]

    def ask(self, *args):
        self.send(*args)
        return self.receive()

    def close(self, reset=False):
        if reset:
            # The other side hears of it by a reset, not by an end.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def is_closed(self, within=PATIENCE):
        """Whether the server closes it, whatever it still sends."""
        self.socket.settimeout(within)
        try:
            while True:
                self.buffer = b""
                self.fill()
        except Closed:
            return True
        except TimeoutError:
            return False


def same(got, want):
    assert got == want, f"{got!r}, not {want!r}"


def until(what, holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {PATIENCE} s"
        time.sleep(0.01)


def resident_mb():
    if PID is None:
        return 0
    with open(f"/proc/{PID}/status") as status:
        return next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmRSS:"))


def info(other, name):
    text = other.ask("INFO")
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(f"{name}:"))


def clients(other):
    """CLIENT LIST as dictionaries."""
    lines = other.ask("CLIENT", "LIST").splitlines()
    return [dict(field.split("=", 1) for field in line.split(" ")) for line in lines]


def bounded(before, what, max_mb=GROWTH_MAX_MB):
    grown = resident_mb() - before
    if os.environ.get("HOSTILE_VERBOSE"):
        print(f"  {what}: {grown} MB", flush=True)
    assert grown <= max_mb, f"{what}: the server has grown by {grown} MB"


def write_until_full(connection, data, limit):
    """Sends until the server takes no more for a second, or closes, or the limit of bytes is reached; how many it took."""
    connection.socket.settimeout(1)
    sent = 0
    try:
        while sent < limit:
            sent += connection.socket.send(data)
    except (TimeoutError, ConnectionError):
        pass
    return sent


def waits_of_clients_that_have_gone(other):
    """What is pushed behind them is for others."""
    waits = [
        (("BLPOP", "q", 0), ("RPUSH", "q", "x"), ("LPOP", "q")),
        (("BRPOP", "q", "q2", 30), ("RPUSH", "q2", "x"), ("LPOP", "q2")),
        (("BLMOVE", "q", "to", "LEFT", "LEFT", 0), ("RPUSH", "q", "x"), ("LPOP", "q")),
        (("BLMPOP", 0, 1, "q", "LEFT"), ("RPUSH", "q", "x"), ("LPOP", "q")),
    ]
    for wait, push, pop in waits:
        for rounds in range(max(3, int(10 * SCALE))):
            gone = Connection()
            gone.send(*wait)
            # At once: its command may still be on its way to the log. Or when it waits.
            if rounds % 2:
                until("it waits", lambda: info(other, "blocked_clients") == "1")
            gone.close(reset=rounds % 3 == 0)
            until("the server has seen its end", lambda: len(clients(other)) == 1)
            time.sleep(0.02)
            same(other.ask(*push), 1)
            same(other.ask(*pop), "x")
    for name in ["BZPOPMIN", "BZPOPMAX"]:
        gone = Connection()
        gone.send(name, "z", 0)
        gone.close()
        until("the server has seen its end", lambda: len(clients(other)) == 1)
        time.sleep(0.02)
        same(other.ask("ZADD", "z", 1, "m"), 1)
        same(other.ask("ZPOPMIN", "z"), ["m", "1"])
    other.ask("XGROUP", "CREATE", "st", "g", "0", "MKSTREAM")
    gone = Connection()
    gone.send("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "st", ">")
    gone.close()
    until("the server has seen its end", lambda: len(clients(other)) == 1)
    time.sleep(0.02)
    other.ask("XADD", "st", "1-1", "f", "v")
    same(other.ask("XPENDING", "st", "g")[0], 0)
    same(info(other, "blocked_clients"), "0")


def killed_clients(other):
    """CLIENT KILL of one that waits, one that listens, one in MULTI; and what they hold is free."""
    for begin in [("BLPOP", "q", 0), ("SUBSCRIBE", "news"), ("MULTI",), ("MONITOR",), ("PSUBSCRIBE", "*")]:
        victim = Connection()
        number = victim.ask("CLIENT", "ID")
        victim.send(*begin)
        until("it has begun", lambda: any(int(c["id"]) == number and (c["cmd"] == begin[0].lower()) for c in clients(other)))
        if begin == ("MULTI",):
            same(victim.receive(), "OK")
            same(victim.ask("SET", "never", 1), "QUEUED")
        same(other.ask("CLIENT", "KILL", "ID", number), 1)
        assert victim.is_closed(), begin
        until("it is gone", lambda: len(clients(other)) == 1)
    same(other.ask("EXISTS", "never"), 0)
    same(other.ask("PUBLISH", "news", "x"), 0)
    same(other.ask("RPUSH", "q", "x"), 1)
    same(other.ask("LPOP", "q"), "x")
    # UNBLOCK is no kill.
    waiting = Connection()
    number = waiting.ask("CLIENT", "ID")
    waiting.send("BLPOP", "q", 0)
    until("it waits", lambda: info(other, "blocked_clients") == "1")
    same(other.ask("CLIENT", "UNBLOCK", number), 1)
    same(waiting.receive(), None)
    waiting.send("BLPOP", "q", 0)
    until("it waits", lambda: info(other, "blocked_clients") == "1")
    same(other.ask("CLIENT", "UNBLOCK", number, "ERROR"), 1)
    assert "UNBLOCKED" in str(waiting.receive())
    waiting.close()


def dropped_in_the_middle(other):
    """A MULTI without EXEC, half commands, a script's client: nothing of them, or all."""
    for reset in [False, True]:
        for data in [
            b"MULTI\r\nSET half 1\r\nINCR half\r\n",
            b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$5\r\nab",
            b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$1\r\nx",
            b"*3\r\n$3\r\nSET\r\n$4\r\nha",
            b"SET half 1",
            b"WATCH half\r\nMULTI\r\nSET half 1\r\n",
        ]:
            gone = Connection()
            gone.raw(data)
            time.sleep(0.01)
            gone.close(reset)
    until("the server has seen their ends", lambda: len(clients(other)) == 1)
    same(other.ask("EXISTS", "half"), 0)
    # What was whole and stood before the end of the input has run.
    gone = Connection()
    gone.raw(b"SET whole 1\r\nINCR whole\r\n")
    gone.socket.shutdown(socket.SHUT_WR)
    same([gone.receive(), gone.receive()], ["OK", 2])
    assert gone.is_closed()
    same(other.ask("GET", "whole"), "2")
    # Listeners that have gone are not counted.
    for reset in [False, True]:
        gone = Connection()
        gone.raw(b"SUBSCRIBE a b\r\nPSUBSCRIBE a*\r\nSSUBSCRIBE s\r\n")
        for _ in range(4):
            gone.receive()
        same(other.ask("PUBLISH", "a", "x"), 2)
        gone.close(reset)
        until("the server has seen its end", lambda: len(clients(other)) == 1)
    same(other.ask("PUBSUB", "CHANNELS"), [])
    same(other.ask("PUBSUB", "NUMPAT"), 0)


def half_commands_hold_no_one_up(other):
    before = resident_mb()
    half = []
    for number in range(int(200 * SCALE)):
        one = Connection()
        one.raw([b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nabc", b"*1000000\r\n$3\r\nDEL\r\n", b"*", b"$", b"SET k "][number % 5])
        half.append(one)
    same(other.ask("PING"), "PONG")
    bounded(before, "lengths without their bytes")
    # One byte at a time is as good as all at once.
    slow = Connection()
    slow.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in b"*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$5\r\nbytes\r\n":
        slow.raw(bytes([byte]))
    same(slow.receive(), "OK")
    same(other.ask("GET", "slow"), "bytes")
    [one.close() for one in half + [slow]]


def multi_of_small_pieces(other):
    """Queued commands hold their own bytes, not the buffers in which they came."""
    before = resident_mb()
    one = Connection()
    one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    same(one.ask("MULTI"), "OK")
    count = int(20_000 * SCALE)
    for number in range(count):
        same(one.ask("SET", f"multi:{number % 100}", number), "QUEUED")
    bounded(before, "a transaction of small commands", 64 + count * 1_000 // (1 << 20))
    same(len(one.ask("EXEC")), count)
    one.close()


def replies_that_nobody_reads(other):
    value = b"x" * (1 << 20)
    same(other.ask("SET", "large", value), "OK")
    for number in range(0, 100_000, 1_000):
        other.ask("RPUSH", "long", *[f"element:{number + at}" for at in range(1_000)])
    before = resident_mb()
    lots = int(SCALE * (8 << 20))
    for request in [
        b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n" * 100,
        b"*4\r\n$6\r\nLRANGE\r\n$4\r\nlong\r\n$1\r\n0\r\n$2\r\n-1\r\n" * 100,
        b"*1\r\n$4\r\nPING\r\n" * 10_000,
        # With something to be logged among them.
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n" + b"*4\r\n$6\r\nLRANGE\r\n$4\r\nlong\r\n$1\r\n0\r\n$2\r\n-1\r\n" * 100,
    ]:
        deaf = [Connection() for _ in range(3)]
        for one in deaf:
            write_until_full(one, request, lots)
            same(other.ask("PING"), "PONG")
        bounded(before, f"{request[:40]!r}")
        [one.close(reset=True) for one in deaf]
    # A transaction gives all of its replies.
    deaf = Connection()
    deaf.raw(b"MULTI\r\n" + b"GET large\r\n" * 500 + b"EXEC\r\n")
    time.sleep(1)
    same(other.ask("PING"), "PONG")
    bounded(before, "a transaction's replies")
    deaf.close(reset=True)
    same(other.ask("DEL", "large", "long"), 2)


def a_reader_that_is_slow_gets_all(other):
    """Backpressure loses nothing."""
    value = "".join(random.Random(1).choices("abcdefgh", k=100_000))
    same(other.ask("SET", "text", value), "OK")
    slow = Connection()
    count = int(500 * SCALE)
    slow.raw(b"GET text\r\n" * count + b"PING\r\n")
    time.sleep(0.5)
    for number in range(count):
        same(slow.receive(), value)
        if number % 100 == 0:
            time.sleep(0.05)
    same(slow.receive(), "PONG")
    slow.close()


def listeners_that_do_not_read(other):
    """MONITOR, SUBSCRIBE and tracking of clients that do not read are bounded; who reads hears all."""
    before = resident_mb()
    listeners = []
    for begin in [b"MONITOR\r\n", b"SUBSCRIBE news\r\n", b"HELLO 3\r\nCLIENT TRACKING ON BCAST\r\n"]:
        one = Connection()
        one.raw(begin)
        one.receive()
        listeners.append(one)
    # The tracking client's second reply.
    listeners[2].receive()
    hears = Connection()
    hears.send("SUBSCRIBE", "news")
    hears.receive()
    message = "m" * 100_000
    for number in range(int(1_500 * SCALE)):
        assert other.ask("PUBLISH", "news", message) in (1, 2)
        same(hears.receive(), ["message", "news", message])
        same(other.ask("SET", f"tracked:{number}:{'k' * 200}", message[:100]), "OK")
    bounded(before, "listeners that do not read")
    [one.close(reset=True) for one in listeners + [hears]]


def limits_of_output(other):
    """client-output-buffer-limit: soft and hard."""
    same(other.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1000000 0 0"), "OK")
    deaf = Connection()
    deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.send("SUBSCRIBE", "news")
    deaf.receive()
    message = "m" * 100_000
    for _ in range(200):
        if other.ask("PUBLISH", "news", message) == 0:
            break
    else:
        raise AssertionError("the subscriber is over its hard limit and goes on")
    deaf.close(reset=True)
    same(other.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 33554432 8388608 60"), "OK")
    same(other.ask("CONFIG", "SET", "client-output-buffer-limit", "normal 2000000 0 0"), "OK")
    other.ask("SET", "large", b"x" * 300_000)
    deaf = Connection()
    deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    write_until_full(deaf, b"GET large\r\n" * 100, 100_000)
    until("it is closed", lambda: len(clients(other)) == 1)
    deaf.close(reset=True)
    same(other.ask("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0"), "OK")


def limits_of_input(other):
    """proto-max-bulk-len, client-query-buffer-limit and maxmemory-clients."""
    same(other.ask("CONFIG", "SET", "proto-max-bulk-len", 1 << 20), "OK")
    one = Connection()
    one.raw(b"*2\r\n$4\r\nECHO\r\n$2000000\r\n")
    assert "invalid bulk length" in str(one.receive())
    assert one.is_closed()
    same(other.ask("CONFIG", "SET", "proto-max-bulk-len", 512 << 20), "OK")
    same(other.ask("CONFIG", "SET", "client-query-buffer-limit", 1 << 20), "OK")
    one = Connection()
    sent = write_until_full(one, b"*2\r\n$4\r\nECHO\r\n$100000000\r\n" + b"x" * 100_000, 50 << 20)
    assert sent < 50 << 20 and one.is_closed(), sent
    same(other.ask("CONFIG", "SET", "client-query-buffer-limit", 1 << 30), "OK")
    evicted = int(info(other, "evicted_clients"))
    same(other.ask("CONFIG", "SET", "maxmemory-clients", 20 << 20), "OK")
    greedy = [Connection() for _ in range(3)]
    for at, one in enumerate(greedy):
        one.raw(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$100000000\r\n" + b"x" * ((at + 1) * (5 << 20)))
    until("the largest is closed", lambda: int(info(other, "evicted_clients")) > evicted)
    assert greedy[2].is_closed()
    same(other.ask("PING"), "PONG")
    # Who asked for it stays.
    kept = Connection()
    same(kept.ask("CLIENT", "NO-EVICT", "ON"), "OK")
    kept.raw(b"*3\r\n$3\r\nSET\r\n$4\r\nkept\r\n$30000000\r\n" + b"x" * 29_999_999)
    time.sleep(0.5)
    kept.raw(b"x\r\n")
    same(kept.receive(), "OK")
    same(other.ask("STRLEN", "kept"), 30_000_000)
    same(other.ask("CONFIG", "SET", "maxmemory-clients", 0), "OK")
    [one.close() for one in greedy + [kept]]
    same(other.ask("DEL", "kept"), 1)


def what_was_large_is_given_back(other):
    """A client that has sent or read much holds nothing of it when it is quiet."""
    before = resident_mb()
    quiet = []
    for number in range(40):
        one = Connection()
        same(one.ask("SET", "large", b"x" * (4 << 20)), "OK")
        same(len(one.ask("GET", "large")), 4 << 20)
        quiet.append(one)
    same(other.ask("DEL", "large"), 1)
    same([one.ask("PING") for one in quiet], ["PONG"] * 40)
    bounded(before, "quiet clients", 100)
    [one.close() for one in quiet]


def too_many(other):
    """maxclients, and room again when some have gone."""
    same(other.ask("CONFIG", "SET", "maxclients", 20), "OK")
    some = [Connection() for _ in range(19)]
    same([one.ask("PING") for one in some], ["PONG"] * 19)
    for _ in range(5):
        one = Connection()
        same(str(one.receive()), "ERR max number of clients reached")
        assert one.is_closed()
    assert int(info(other, "rejected_connections")) >= 5
    some.pop().close()

    def is_room():
        one = Connection()
        try:
            one.send("PING")
            return one.receive() == "PONG"
        except (Closed, ConnectionError):
            return False
        finally:
            one.close()

    until("there is room", is_room)
    [one.close() for one in some]
    same(other.ask("CONFIG", "SET", "maxclients", 10_000), "OK")


def quiet_ones(other):
    """timeout: who says nothing is closed; who waits or listens is not."""
    same(other.ask("CONFIG", "SET", "timeout", 1), "OK")
    quiet, half, waits, listens = (Connection() for _ in range(4))
    same(quiet.ask("PING"), "PONG")
    half.raw(b"*2\r\n$4\r\nECHO\r\n")
    waits.send("BLPOP", "q", 0)
    listens.send("SUBSCRIBE", "news")
    listens.receive()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        same(other.ask("PING"), "PONG")
        time.sleep(0.05)
    assert quiet.is_closed() and half.is_closed()
    same(other.ask("PUBLISH", "news", "x"), 1)
    same(other.ask("RPUSH", "q", "x"), 1)
    same(waits.receive(), ["q", "x"])
    same(other.ask("CONFIG", "SET", "timeout", 0), "OK")
    [one.close() for one in (waits, listens)]


def paused(other):
    """CLIENT PAUSE holds commands back and loses none, also of who leaves meanwhile."""
    one, gone = Connection(), Connection()
    same(other.ask("CLIENT", "PAUSE", 100_000, "WRITE"), "OK")
    same(one.ask("GET", "none"), None)
    one.send("SET", "held", 1)
    gone.send("SET", "held-too", 1)
    multi = Connection()
    multi.raw(b"MULTI\r\nSET held-multi 1\r\nEXEC\r\n")
    same([multi.receive(), multi.receive()], ["OK", "QUEUED"])
    time.sleep(0.2)
    gone.close()
    same(other.ask("EXISTS", "held", "held-multi"), 0)
    same(other.ask("CLIENT", "UNPAUSE"), "OK")
    same(one.receive(), "OK")
    same(multi.receive(), ["OK"])
    same(other.ask("GET", "held"), "1")
    [each.close() for each in (one, multi)]


def no_commands_at_all(other):
    """Bytes that are no commands, and lines that are."""
    chance = random.Random(7)
    before = resident_mb()
    for number in range(int(300 * SCALE)):
        one = Connection()
        begin = chance.choice([b"", b"*", b"*3\r\n$3\r\nSET\r\n$", b"\r\n\r\n", b"PING\r\n", b"*-5\r\n", b"$5\r\n", b"HELLO 3\r\n"])
        try:
            one.raw(begin + chance.randbytes(chance.randrange(1, 2_000)))
            one.socket.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        assert one.is_closed()
        one.close()
        if number % 20 == 0:
            same(other.ask("PING"), "PONG")
    one = Connection()
    one.raw(b"a" * 200_000)
    assert "too big inline request" in str(one.receive())
    assert one.is_closed()
    one = Connection()
    one.raw(b"*1\r\n$" + b"1" * 200_000)
    assert "Protocol error" in str(one.receive())
    assert one.is_closed()
    # Many empty lines and empty arrays cost nothing.
    one = Connection()
    one.raw(b"\r\n" * 500_000 + b"*0\r\n" * 500_000 + b"PING\r\n")
    same(one.receive(), "PONG")
    one.close()
    bounded(before, "garbage")


def many_connections(other):
    """As many as the system lets: each works, and none holds much."""
    before = resident_mb()
    count = int(300 * SCALE)
    crowd = []
    for _ in range(count):
        crowd.append(Connection())
    for number, one in enumerate(crowd):
        one.send("SET", f"crowd:{number}", number)
    same([one.receive() for one in crowd], ["OK"] * count)
    same(int(info(other, "connected_clients")), count + 1)
    bounded(before, f"{count} connections", 32 + count * 32 // 1_024)
    # All of them leave at once, some of them waiting.
    for number, one in enumerate(crowd):
        if number % 3 == 0:
            one.send("BLPOP", "q", 0)
        one.close(reset=number % 2 == 0)
    until("all have gone", lambda: len(clients(other)) == 1)
    same(other.ask("RPUSH", "q", "x"), 1)
    same(other.ask("LPOP", "q"), "x")


def quickly_come_and_gone(other):
    for number in range(int(500 * SCALE)):
        one = Connection()
        if number % 2:
            one.send("INCR", "counted")
            one.receive()
        one.close(reset=number % 3 == 0)
    until("all have gone", lambda: len(clients(other)) == 1)
    same(other.ask("GET", "counted"), str(int(500 * SCALE) // 2))


def main():
    other = Connection()
    other.ask("FLUSHALL")
    parts = [
        waits_of_clients_that_have_gone,
        killed_clients,
        dropped_in_the_middle,
        half_commands_hold_no_one_up,
        multi_of_small_pieces,
        replies_that_nobody_reads,
        a_reader_that_is_slow_gets_all,
        listeners_that_do_not_read,
        limits_of_output,
        limits_of_input,
        what_was_large_is_given_back,
        too_many,
        quiet_ones,
        paused,
        no_commands_at_all,
        many_connections,
        quickly_come_and_gone,
    ]
    wanted = os.environ.get("HOSTILE_ONLY", "").split()
    for part in parts:
        if wanted and part.__name__ not in wanted:
            continue
        begin = time.monotonic()
        part(other)
        same(other.ask("PING"), "PONG")
        until("nobody else is left", lambda: len(clients(other)) == 1)
        print(f"{part.__name__}: {time.monotonic() - begin:.1f} s, {resident_mb()} MB", flush=True)
    print("hostile clients: ok")


main()
