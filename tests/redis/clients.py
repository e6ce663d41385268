"""redis-py against a node: clients.py PORT PROTOCOL. Ends with an error at the first thing that is wrong."""

import asyncio
import sys
import threading
import time

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

PORT, PROTOCOL = int(sys.argv[1]), int(sys.argv[2])


def connect(**more):
    return redis.Redis(host="127.0.0.1", port=PORT, protocol=PROTOCOL, decode_responses=True, socket_timeout=30, **more)


def same(got, want):
    assert got == want, f"{got!r}, not {want!r}"


def raises(kind, call, *args, **named):
    try:
        call(*args, **named)
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


def values(r):
    same(r.set("k", "v", ex=100, nx=True), True)
    same(r.set("k", "w", nx=True), None)
    same(r.set("k", "w", get=True), "v")
    same(r.getex("k", persist=True), "w")
    same(r.incrbyfloat("f", 1.5), 1.5)
    same(r.mset({"a": 1, "b": 2}), True)
    same(r.mget("a", "none", "b"), ["1", None, "2"])
    same(r.hset("h", mapping={"x": 1, "y": 2}), 2)
    same(r.hgetall("h"), {"x": "1", "y": "2"})
    same(r.hincrby("h", "x", 5), 6)
    same(r.rpush("l", 1, 2, 3), 3)
    same(r.lrange("l", 0, -1), ["1", "2", "3"])
    same(r.blpop(["none", "l"], 1), ["l", "1"] if PROTOCOL == 3 else ("l", "1"))
    same(r.blpop("none", 0.05), None)
    same(r.sadd("s", "a", "b"), 2)
    same(r.smembers("s"), {"a", "b"})
    same(r.zadd("z", {"a": 1.5, "b": 2}), 2)
    scores = [[member, score] for member, score in r.zrange("z", 0, -1, withscores=True)]
    same(scores, [["a", 1.5], ["b", 2.0]])
    same(r.zscore("z", "a"), 1.5)
    same(r.setbit("bits", 7, 1), 0)
    same(r.bitcount("bits"), 1)
    same(r.pfadd("hll", "a", "b"), 1)
    same(r.pfcount("hll"), 2)
    same(r.geoadd("g", [13.361389, 38.115556, "Palermo"]), 1)
    same(round(r.geopos("g", "Palermo")[0][0], 4), 13.3614)
    same(sorted(r.scan_iter("[ab]")), ["a", "b"])
    same(r.type("z"), "zset")
    same(r.expire("a", 100), True)
    assert 0 < r.ttl("a") <= 100
    same(r.hexpire("h", 100, "x"), [1])
    same(r.httl("h", "x", "y"), [100, -1])
    assert "wrong kind of value" in raises(redis.ResponseError, r.incr, "l")
    raises(redis.ResponseError, r.lpush, "k", 1)
    binary = redis.Redis(host="127.0.0.1", port=PORT, protocol=PROTOCOL)
    binary.set(b"\x00\xff", bytes(range(256)))
    same(binary.get(b"\x00\xff"), bytes(range(256)))
    big = b"x" * (8 << 20)
    binary.set("big", big)
    same(binary.get("big"), big)


def pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for number in range(1000):
            pipe.set(f"p:{number}", number).get(f"p:{number}")
        replies = pipe.execute()
    same(replies[1::2], [str(number) for number in range(1000)])
    with r.pipeline() as pipe:
        same(pipe.incr("n").incr("n").get("n").execute(), [1, 2, "2"])
    with r.pipeline() as pipe:
        replies = pipe.set("n", "x").incr("n").get("n").execute(raise_on_error=False)
        assert isinstance(replies[1], redis.ResponseError) and replies[2] == "x", replies
    r.set("balance", 10)
    with r.pipeline() as pipe:
        pipe.watch("balance")
        r.set("balance", 11)
        pipe.multi()
        pipe.set("balance", 0)
        raises(redis.WatchError, pipe.execute)

    def add(pipe):
        value = int(pipe.get("balance"))
        pipe.multi()
        pipe.set("balance", value + 1)

    threads = [threading.Thread(target=lambda: [connect().transaction(add, "balance") for _ in range(10)]) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    same(r.get("balance"), "51")


def locks(r):
    lock = r.lock("lock", timeout=10)
    assert lock.acquire()
    assert not r.lock("lock", timeout=10).acquire(blocking=False)
    assert lock.extend(5)
    lock.release()
    with r.lock("lock", timeout=10, blocking_timeout=5):
        pass
    raises(redis.exceptions.LockError, lock.release)


def pubsub(r):
    subscriber = r.pubsub()
    subscriber.subscribe("news")
    subscriber.psubscribe("n*")
    same([subscriber.get_message(timeout=5)["type"] for _ in range(2)], ["subscribe", "psubscribe"])
    same(r.publish("news", "hello"), 2)
    messages = [subscriber.get_message(timeout=5) for _ in range(2)]
    same(sorted(message["type"] for message in messages), ["message", "pmessage"])
    same([message["data"] for message in messages], ["hello", "hello"])
    subscriber.ping()
    subscriber.close()


def streams(r):
    first = r.xadd("stream", {"a": 1}, id="1-1")
    same(first, "1-1")
    r.xadd("stream", {"b": 2}, id="2-1")
    same(r.xrange("stream"), [("1-1", {"a": "1"}), ("2-1", {"b": "2"})])
    r.xgroup_create("stream", "g", id="0")
    got = r.xreadgroup("g", "c", {"stream": ">"}, count=1)
    entries = got["stream"][0] if isinstance(got, dict) else got[0][1]
    same([entry[0] for entry in entries], ["1-1"])
    same(r.xpending("stream", "g")["pending"], 1)
    same(r.xack("stream", "g", "1-1"), 1)
    same(r.xlen("stream"), 2)
    same(r.xinfo_stream("stream")["length"], 2)
    same(r.xinfo_groups("stream")[0]["name"], "g")
    raises(redis.ResponseError, r.xgroup_create, "stream", "g")


def scripts(r):
    script = r.register_script("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}")
    same(script(keys=["scripted"], args=["x"]), ["scripted", "x", 1])
    r.script_flush()
    same(script(keys=["scripted"], args=["y"]), ["scripted", "y", 2])
    raises(redis.exceptions.NoScriptError, r.evalsha, "f" * 40, 0)
    with r.pipeline() as pipe:
        script(keys=["scripted"], args=["z"], client=pipe)
        same(pipe.execute(), [["scripted", "z", 3]])
    r.function_load("#!lua name=lib\nredis.register_function('f', function(keys, args) return args[1] end)", replace=True)
    same(r.fcall("f", 0, "a"), "a")


def server(r):
    assert r.info()["redis_version"].startswith("7.4")
    assert r.client_id() > 0
    assert any(client["id"] == str(r.client_id()) for client in r.client_list())
    same(r.client_setname("tester"), True)
    same(r.config_get("maxmemory-policy")["maxmemory-policy"], "noeviction")
    assert len(r.time()) == 2
    assert r.memory_usage("k") > 0
    assert "get" in r.command()
    same(r.echo("x"), "x")
    one = connect(retry=Retry(NoBackoff(), 0), single_connection_client=True)
    same(one.select(2), True)
    one.set("elsewhere", 1)
    same(r.exists("elsewhere"), 0)


async def asynchronous():
    async with redis.asyncio.Redis(host="127.0.0.1", port=PORT, protocol=PROTOCOL, decode_responses=True) as r:
        await asyncio.gather(*(r.incr("async") for _ in range(50)))
        same(await r.get("async"), "50")
        async with r.pipeline() as pipe:
            same(await pipe.set("x", 1).incr("x").execute(), [True, 2])
        waiter = asyncio.create_task(r.blpop("queue", 10))
        await asyncio.sleep(0.05)
        await r.rpush("queue", "job")
        same(list(await waiter), ["queue", "job"])
        async with r.pubsub() as subscriber:
            await subscriber.subscribe("async-news")
            await subscriber.get_message(timeout=5)
            await r.publish("async-news", "hello")
            same((await subscriber.get_message(timeout=5))["data"], "hello")
        async with r.lock("async-lock", timeout=5):
            pass


def main():
    r = connect()
    r.flushall()
    begin = time.monotonic()
    for part in [values, pipelines, locks, pubsub, streams, scripts, server]:
        part(r)
    asyncio.run(asynchronous())
    print(f"redis-py {redis.__version__}, RESP{PROTOCOL}: ok in {time.monotonic() - begin:.1f} s")


main()
