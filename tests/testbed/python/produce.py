"""A plain producer that does not retry, with one of two libraries.

Record n goes to partition n mod P with the sequence number n div P, both written into its value. It prints one JSON object
for each outcome, and ends at a line on standard input (or at once at its end).
"""
import json
import os
import sys
import threading
import time


def options(words):
    return {words[i][2:]: words[i + 1] for i in range(0, len(words) - 1, 2)}


class Printer:
    def __init__(self):
        self.lock = threading.Lock()

    def line(self, value):
        with self.lock:
            sys.stdout.write(json.dumps(value) + "\n")
            sys.stdout.flush()


OUT = Printer()
STOP = threading.Event()


def micros():
    return time.time_ns() // 1000


def watch_stdin():
    if sys.stdin.readline():
        STOP.set()
    else:
        os._exit(1)


def pairs(text):
    return dict(part.split("=", 1) for part in text.replace(";", "\n").split("\n") if "=" in part)


def typed(value):
    if value in ("true", "false"):
        return value == "true"
    try:
        return int(value)
    except ValueError:
        return value


def kafka_python(o):
    from kafka import KafkaProducer

    settings = {
        "bootstrap_servers": o["bootstrap"].split(","),
        "client_id": o["id"],
        "acks": "all",
        "retries": 0,
        "linger_ms": 0,
        "max_block_ms": 120000,
    }
    for key, value in pairs(o.get("config", "")).items():
        settings[key.replace(".", "_")] = typed(value)
    producer = KafkaProducer(**settings)
    producer.partitions_for(o["topic"])

    def send(partition, key, value, success, failure):
        try:
            future = producer.send(o["topic"], value=value, key=key, partition=partition)
        except Exception as error:  # every error is a result here
            failure(type(error).__name__, str(error))
            return
        future.add_callback(lambda meta: success(meta.offset))
        future.add_errback(lambda error: failure(type(error).__name__, str(error)))

    return send, lambda: producer.close(timeout=120), lambda: None


def confluent(o):
    from confluent_kafka import Producer

    settings = {
        "bootstrap.servers": o["bootstrap"],
        "client.id": o["id"],
        "acks": "all",
        "message.send.max.retries": 0,
        "enable.idempotence": False,
        "linger.ms": 0,
        "log_level": 0,
    }
    settings.update(pairs(o.get("config", "")))
    producer = Producer(settings)
    producer.list_topics(o["topic"], timeout=60)

    def send(partition, key, value, success, failure):
        def report(error, message):
            if error is None:
                success(message.offset())
            else:
                failure(error.name(), error.str())

        try:
            producer.produce(o["topic"], value=value, key=key, partition=partition, on_delivery=report)
        except Exception as error:  # every error is a result here
            failure(type(error).__name__, str(error))

    return send, lambda: producer.flush(320), lambda: producer.poll(0)


def main():
    o = options(sys.argv[1:])
    threading.Thread(target=watch_stdin, daemon=True).start()
    send, close, serve = {"kafka-python": kafka_python, "confluent-kafka": confluent}[o["library"]](o)
    OUT.line({"t": "ready"})
    partitions, rate, count = int(o["partitions"]), float(o["rate"]), int(o["count"])
    padding = "x" * int(o["padding"])
    start = time.monotonic()
    n = 0
    while not STOP.is_set() and (count == 0 or n < count):
        due = start + n / rate
        while not STOP.is_set():
            serve()
            left = due - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, 0.02))
        partition, seq = n % partitions, n // partitions
        head = {"t": "r", "p": partition, "s": seq, "sent": micros()}
        value = f"{o['id']}|{partition}|{seq}|{padding}".encode()
        send(
            partition,
            f"{o['id']}-{partition}".encode(),
            value,
            lambda offset, head=head: OUT.line({**head, "done": micros(), "off": offset}),
            lambda name, text, head=head: OUT.line({**head, "done": micros(), "err": name, "msg": text}),
        )
        n += 1
    close()
    OUT.line({"t": "end", "sent": n})


main()
