"""Celery with Redis as broker and backend. As a module: the tasks of the worker; as a program: who asks for them."""

import datetime
import os

from celery import Celery, chain, chord, group
from celery.exceptions import ChordError, TaskRevokedError

URL = os.environ["REDIS_URL"]
app = Celery("tasks", broker=f"{URL}/0", backend=f"{URL}/1")
app.conf.update(broker_connection_retry_on_startup=True, result_expires=600, task_acks_late=True)


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail():
    raise ValueError("as it should")


@app.task(bind=True, max_retries=5)
def retried(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.1)
    return self.request.retries


def main():
    def same(got, want):
        assert got == want, f"{got!r}, not {want!r}"

    same(add.delay(2, 3).get(timeout=60), 5)
    results = [add.delay(number, number) for number in range(100)]
    same([result.get(timeout=60) for result in results], [2 * number for number in range(100)])
    same(chain(add.s(1, 2), add.s(10), add.s(100))().get(timeout=60), 113)
    same(group(add.s(number, 1) for number in range(10))().get(timeout=60), list(range(1, 11)))
    same(chord((add.s(number, 1) for number in range(10)), total.s())().get(timeout=60), 55)
    same(retried.delay().get(timeout=60), 2)
    same(add.apply_async((1, 1), countdown=0.5).get(timeout=60), 2)
    eta = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    same(add.apply_async((2, 2), eta=eta).get(timeout=60), 4)
    revoked = add.apply_async((3, 3), countdown=2)
    revoked.revoke()
    try:
        revoked.get(timeout=60)
        raise SystemExit("a revoked task has run")
    except TaskRevokedError:
        pass
    broken = chord([add.s(1, 1), fail.s()], total.s())()
    try:
        broken.get(timeout=60)
        raise SystemExit("a chord over a failed task has a result")
    except (ChordError, ValueError):
        pass
    same(add.delay(1, 2).forget(), None)
    assert app.control.ping(timeout=5), "no worker answers"
    try:
        fail.delay().get(timeout=60)
        raise SystemExit("a failed task has not failed")
    except ValueError as error:
        same(str(error), "as it should")
    print("Celery: ok")


if __name__ == "__main__":
    main()
