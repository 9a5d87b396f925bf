"""A member of a consumer group, with kafka-python. It prints one JSON object for each record, change of assignment, error and
commit, and ends at a line on standard input (or at once at its end).
"""
import json
import os
import sys
import threading
import time

from kafka import ConsumerRebalanceListener, KafkaConsumer

STOP = threading.Event()


def micros():
    return time.time_ns() // 1000


def line(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def watch_stdin():
    if sys.stdin.readline():
        STOP.set()
    else:
        os._exit(1)


def failed(call, error):
    line({"t": "error", "at": micros(), "in": call, "err": type(error).__name__, "msg": str(error)})


class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        line({"t": "revoked", "at": micros(), "p": sorted(tp.partition for tp in revoked)})

    def on_partitions_assigned(self, assigned):
        line({"t": "assigned", "at": micros(), "p": sorted(tp.partition for tp in assigned), "gen": -1})


def commit(consumer):
    start = micros()
    try:
        consumer.commit()
        line({"t": "commit", "at": micros(), "us": micros() - start})
    except Exception as error:  # every error is a result here
        failed("commit", error)


def main():
    words = sys.argv[1:]
    o = {words[i][2:]: words[i + 1] for i in range(0, len(words) - 1, 2)}
    threading.Thread(target=watch_stdin, daemon=True).start()
    settings = {}
    for part in o.get("config", "").replace(";", "\n").split("\n"):
        if "=" in part:
            key, value = part.split("=", 1)
            settings[key.replace(".", "_")] = int(value) if value.lstrip("-").isdigit() else value
    consumer = KafkaConsumer(
        bootstrap_servers=o["bootstrap"].split(","),
        client_id=o["id"],
        group_id=o["group"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **settings,
    )
    consumer.subscribe([o["topic"]], listener=Listener())
    committed, fresh = time.monotonic(), False
    while not STOP.is_set():
        try:
            for records in consumer.poll(timeout_ms=100).values():
                for r in records:
                    fresh = True
                    value = r.value.decode()
                    # Padding is of no use to the judge.
                    value = value[: value.rfind("|") + 1] or value
                    line({"t": "r", "at": micros(), "p": r.partition, "o": r.offset, "v": value})
        except Exception as error:  # every error is a result here
            failed("poll", error)
        if fresh and time.monotonic() - committed > 1:
            committed, fresh = time.monotonic(), False
            commit(consumer)
    commit(consumer)
    try:
        consumer.close(autocommit=False)
    except Exception as error:  # every error is a result here
        failed("close", error)
    line({"t": "end"})


main()
