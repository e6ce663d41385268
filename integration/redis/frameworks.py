"""What frameworks do with Redis: frameworks.py PORT. RQ's queue, Dramatiq's, Django's cache, Flask's sessions."""

import math
import os
import subprocess
import sys
import threading
import time

PORT = int(sys.argv[1])
URL = f"redis://127.0.0.1:{PORT}"


def same(got, want):
    assert got == want, f"{got!r}, not {want!r}"


def until(what, holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def rq():
    from redis import Redis
    from rq import Queue, Retry

    queue = Queue("work", connection=Redis.from_url(URL))
    doubled = [queue.enqueue(pow, number, 2) for number in range(20)]
    failed = queue.enqueue(math.sqrt, "x")
    again = queue.enqueue(math.sqrt, "y", retry=Retry(max=2))
    behind = queue.enqueue(pow, 3, 3, depends_on=doubled[-1])
    rq = os.path.join(os.path.dirname(sys.executable), "rq")
    worker = [rq, "worker", "--burst", "--url", URL, "--worker-class", "rq.worker.SimpleWorker", "work"]
    subprocess.run(worker, check=True, timeout=100, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    same([job.return_value() for job in doubled], [number**2 for number in range(20)])
    same(behind.return_value(), 27)
    same(failed.get_status().value, "failed")
    same(again.get_status().value, "failed")
    same(len(queue), 0)
    same(queue.failed_job_registry.count, 2)
    print("RQ: ok")


def dramatiq():
    import logging

    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    # It tells of every exception, also of those that are meant.
    logging.getLogger("dramatiq").setLevel(logging.CRITICAL)
    broker = RedisBroker(url=URL)
    dramatiq.set_broker(broker)
    seen, tries, lock = [], [], threading.Lock()

    @dramatiq.actor(broker=broker)
    def note(number):
        with lock:
            seen.append(number)

    @dramatiq.actor(broker=broker, max_retries=5, min_backoff=10, max_backoff=20)
    def again():
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")

    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=4)
    worker.start()
    for number in range(100):
        note.send(number)
    note.send_with_options(args=(100,), delay=300)
    again.send()
    until("all messages are handled", lambda: len(seen) == 101 and len(tries) == 3)
    broker.join(note.queue_name)
    worker.stop()
    broker.close()
    same(sorted(seen), list(range(101)))
    print("Dramatiq: ok")


def django():
    from django.conf import settings

    backend = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"{URL}/1"}
    settings.configure(CACHES={"default": backend})
    from django.core.cache import cache

    cache.clear()
    same(cache.set("k", {"a": [1, 2]}, timeout=100), None)
    same(cache.get("k"), {"a": [1, 2]})
    same(cache.add("k", 1), False)
    same(cache.get_or_set("new", lambda: 5), 5)
    same(cache.incr("new", 3), 8)
    cache.set_many({"x": 1, "y": 2})
    same(cache.get_many(["x", "y", "none"]), {"x": 1, "y": 2})
    same(cache.touch("x", 0), True)
    same(cache.get("x"), None)
    same(cache.has_key("y"), True)
    same(cache.delete_many(["y", "none"]), None)
    cache.set("gone", 1, timeout=0)
    same(cache.get("gone", "default"), "default")
    same(cache.get("k", version=2), None)
    cache.clear()
    same(cache.get("k"), None)
    print("Django's cache: ok")


def flask():
    from flask import Flask, session
    from flask_session import Session
    from redis import Redis

    app = Flask("sessions")
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis.from_url(URL), SECRET_KEY="x")
    Session(app)

    @app.route("/count")
    def count():
        session["count"] = session.get("count", 0) + 1
        return str(session["count"])

    @app.route("/leave")
    def leave():
        session.clear()
        return "left"

    one, two = app.test_client(), app.test_client()
    same([one.get("/count").text for _ in range(3)], ["1", "2", "3"])
    same(two.get("/count").text, "1")
    same(one.get("/leave").text, "left")
    same(one.get("/count").text, "1")
    same(two.get("/count").text, "2")
    print("Flask's sessions: ok")


for part in [rq, dramatiq, django, flask]:
    part()
