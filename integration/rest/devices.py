"""Devices that send until the node is gone, and what of it has to be there afterwards.

    devices.py REST_ADDRESS PG_PORT write|check FILE

A message that was not answered is sent again by the next round, as a device would: it may be there already, and is then known.
"""

import gzip
import json
import os
import sys
import urllib.error
import urllib.request

import psycopg

rest, port, what, file = sys.argv[1:5]
# Others may have written to the same node, such as who tries all that its document allows.
DEVICE, MEASUREMENT = "device-under-test", "cpu_under_test"


def post(path, body, headers):
    return urllib.request.urlopen(urllib.request.Request(f"http://{rest}{path}", body, headers), timeout=30).status


def send(number):
    message = {"device_id": DEVICE, "ts": 1_767_322_800 + number, "seq": number, "metrics": {"t": number / 2, "n": number}}
    assert post("/ingest", json.dumps(message).encode(), {"Content-Type": "application/json"}) == 202
    lines = "\n".join(f"{MEASUREMENT},host=h{host} usage={number}i {1_767_322_800 + number}" for host in range(20))
    packed = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
    assert post("/api/v2/write?bucket=b&precision=s", gzip.compress(lines.encode()), packed) == 204


acknowledged = int(open(file).read()) if os.path.exists(file) else 0
if what == "write":
    try:
        while True:
            send(acknowledged + 1)
            acknowledged += 1
    except (urllib.error.URLError, OSError):
        pass
    assert acknowledged > 0
    with open(file, "w") as out:
        out.write(str(acknowledged))
else:
    # What was not answered is sent once more.
    send(acknowledged + 1)
    with psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres") as connection:
        readings = connection.execute("SELECT count(*), count(DISTINCT seq), max(seq) FROM readings WHERE device_id = %s", (DEVICE,)).fetchone()
        lines = connection.execute(f"SELECT count(*), count(DISTINCT time), max(usage) FROM {MEASUREMENT}").fetchone()
    wanted = acknowledged + 1
    assert readings == (2 * wanted, wanted, wanted), (readings, wanted)
    assert lines == (20 * wanted, wanted, wanted), (lines, wanted)
    print(f"{wanted} messages, {20 * wanted} lines: each once")
