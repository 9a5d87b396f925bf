"""What the Python client programs have in common: their options, the lines that they print, and when to send what.

A program prints one JSON object a line. A producer: `ready`; `r` for the outcome of each record, with its partition `p`,
its number `s` among the producer's records of that partition, and the offset `off` or the error `err`; `end`. A member of
a group: `r` for each record that it was handed, with partition and offset `o`; `assigned`, `revoked`, `lost`; `commit`;
`error` for a call that failed; `end`. It ends at a line on standard input, and at once when that ends.
"""
import json
import os
import sys
import threading
import time

STOP = threading.Event()
LOCK = threading.Lock()


def options(words):
    return {words[i][2:]: words[i + 1] for i in range(0, len(words) - 1, 2)}


def line(value):
    with LOCK:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()


def micros():
    return time.time_ns() // 1000


def watch_stdin():
    def watch():
        if not sys.stdin.readline():
            os._exit(1)
        STOP.set()

    threading.Thread(target=watch, daemon=True).start()


def leave(code=0):
    """Ends without waiting for the threads of a library: everything has been said."""
    sys.stdout.flush()
    os._exit(code)


class Produced:
    """One record on its way, and how its outcome is told."""

    def __init__(self, o, n):
        partitions = int(o["partitions"])
        self.partition, seq = n % partitions, n // partitions
        self.key = f"{o['id']}-{self.partition}".encode()
        self.value = f"{o['id']}|{self.partition}|{seq}|{'x' * int(o['padding'])}".encode()
        self.head = {"t": "r", "p": self.partition, "s": seq, "sent": micros()}

    def success(self, offset):
        line({**self.head, "done": micros(), "off": offset})

    def failure(self, name, text):
        line({**self.head, "done": micros(), "err": name, "msg": text})

    def raised(self, error):
        self.failure(type(error).__name__, str(error))


def produce(o, send, close, serve=lambda: None):
    """Sends records at the wanted rate until it is told to stop. `send` takes a `Produced`."""
    line({"t": "ready"})
    rate = float(o["rate"])
    start = time.monotonic()
    n = 0
    while not STOP.is_set():
        due = start + n / rate
        while not STOP.is_set():
            serve()
            left = due - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, 0.02))
        record = Produced(o, n)
        try:
            send(record)
        except Exception as error:  # every error is a result here
            record.raised(error)
        n += 1
    close()
    line({"t": "end", "sent": n})
    leave()


def failed(call, error, name=None):
    line({"t": "error", "at": micros(), "in": call, "err": name or type(error).__name__, "msg": str(error)})


def moved(what, partitions):
    line({"t": what, "at": micros(), "p": sorted(partitions)})


def consume(poll, commit, close):
    """Polls, and commits every second if there is something new. `poll` gives (partition, offset) pairs."""
    last, fresh = time.monotonic(), False
    while not STOP.is_set():
        try:
            for partition, offset in poll():
                fresh = True
                line({"t": "r", "p": partition, "o": offset})
        except Exception as error:  # every error is a result here
            failed("poll", error)
            time.sleep(0.1)
        if fresh and time.monotonic() - last > 1:
            last, fresh = time.monotonic(), False
            attempt("commit", commit)
    attempt("commit", commit)
    attempt("close", close)
    line({"t": "end"})
    leave()


def attempt(name, call):
    try:
        call()
    except Exception as error:  # every error is a result here
        failed(name, error)
    else:
        if name == "commit":
            line({"t": "commit", "at": micros()})
