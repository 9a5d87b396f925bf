"""confluent-kafka, which is librdkafka."""
import bed


def producer(o):
    from confluent_kafka import Producer

    settings = {"bootstrap.servers": o["bootstrap"], "log_level": 0}
    if o["settings"] == "off":
        settings.update({"acks": "all", "message.send.max.retries": 0, "enable.idempotence": False})
    client = Producer(settings)
    client.list_topics(o["topic"], timeout=60)

    def send(record):
        def report(error, message):
            if error is None:
                record.success(message.offset())
            else:
                record.failure(error.name(), error.str())

        client.produce(o["topic"], value=record.value, key=record.key, partition=record.partition, on_delivery=report)

    bed.produce(o, send, lambda: client.flush(140), lambda: client.poll(0))


def consumer(o):
    from confluent_kafka import Consumer, KafkaException

    client = Consumer(
        {
            "bootstrap.servers": o["bootstrap"],
            "group.id": o["group"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    client.subscribe(
        [o["topic"]],
        on_assign=lambda _, assigned: bed.moved("assigned", [p.partition for p in assigned]),
        on_revoke=lambda _, revoked: bed.moved("revoked", [p.partition for p in revoked]),
        on_lost=lambda _, lost: bed.moved("lost", [p.partition for p in lost]),
    )

    def poll():
        message = client.poll(0.1)
        while message is not None:
            if message.error() is None:
                yield message.partition(), message.offset()
            else:
                bed.failed("poll", message.error().str(), message.error().name())
            message = client.poll(0)

    def commit():
        try:
            client.commit(asynchronous=False)
        except KafkaException as error:
            # Its class says nothing; the error inside has the name.
            if error.args[0].name() != "_NO_OFFSET":
                bed.failed("commit", error.args[0].str(), error.args[0].name())

    bed.consume(poll, commit, client.close)
