"""Copies a topic into another, exactly once, with librdkafka: what is read, its copy and the position go together in
transactions. It prints one JSON object for each transaction and each failure, and ends at a line on standard input (or at
once at its end).
"""
import json
import os
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition


def options(words):
    return {words[i][2:]: words[i + 1] for i in range(0, len(words) - 1, 2)}


STOP = threading.Event()


def watch_stdin():
    if sys.stdin.readline():
        STOP.set()
    else:
        os._exit(1)


def line(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def micros():
    return time.time_ns() // 1000


def failure(where, error):
    line({"t": "error", "at": micros(), "in": where, "err": error.args[0].name(), "msg": error.args[0].str()})


def again(call, *arguments):
    """Calls it until it doesn't say that it may be called again: that is how this library is used."""
    while True:
        try:
            return call(*arguments)
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
            failure("retried", error)


class Copy:
    def __init__(self, o):
        self.o = o
        self.producer = None
        self.consumer = Consumer(
            {
                "bootstrap.servers": o["bootstrap"],
                "group.id": o["group"],
                "client.id": o["id"],
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        self.consumer.subscribe([o["topic"]])

    def fresh(self):
        producer = Producer(
            {
                "bootstrap.servers": self.o["bootstrap"],
                "client.id": self.o["id"],
                "transactional.id": self.o["id"],
                "linger.ms": 0,
                "log_level": 0,
            }
        )
        again(producer.init_transactions, 60)
        return producer

    def run(self):
        while not STOP.is_set():
            try:
                if self.producer is None:
                    self.producer = self.fresh()
                    line({"t": "ready"})
                records = [r for r in self.consumer.consume(500, 0.1) if r.error() is None]
                if records:
                    self.transaction(records)
            except KafkaException as error:
                failure("transaction", error)
                self.abort()
                self.rewind()
        self.consumer.close()

    def transaction(self, records):
        start = micros()
        producer = self.producer
        producer.begin_transaction()
        positions = {}
        for r in records:
            producer.produce(self.o["to"], key=r.key(), value=r.value(), partition=r.partition())
            positions[r.partition()] = r.offset() + 1
        offsets = [TopicPartition(self.o["topic"], p, at) for p, at in positions.items()]
        again(producer.send_offsets_to_transaction, offsets, self.consumer.consumer_group_metadata(), 60)
        again(producer.commit_transaction, 60)
        line({"t": "txn", "records": len(records), "us": micros() - start})

    def abort(self):
        if self.producer is None:
            return
        try:
            again(self.producer.abort_transaction, 60)
        except KafkaException as error:
            failure("abort", error)
            self.producer = None

    def rewind(self):
        while True:
            try:
                for place in self.consumer.committed(self.consumer.assignment(), 30):
                    if place.offset < 0:
                        place.offset = 0
                    self.consumer.seek(place)
                return
            except KafkaException as error:
                failure("rewind", error)


def main():
    threading.Thread(target=watch_stdin, daemon=True).start()
    Copy(options(sys.argv[1:])).run()
    line({"t": "end"})


main()
