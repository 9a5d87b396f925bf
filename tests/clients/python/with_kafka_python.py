"""kafka-python, any version: what the two share is enough."""
import bed


def producer(o):
    import kafka

    settings = {"bootstrap_servers": o["bootstrap"].split(",")}
    if o["settings"] == "off":
        settings.update(acks="all", retries=0)
        # What has idempotence now has it by default, and it excludes this.
        if "enable_idempotence" in kafka.KafkaProducer.DEFAULT_CONFIG:
            settings["enable_idempotence"] = False
    client = kafka.KafkaProducer(**settings)
    client.partitions_for(o["topic"])

    def send(record):
        future = client.send(o["topic"], value=record.value, key=record.key, partition=record.partition)
        future.add_callback(lambda meta: record.success(meta.offset))
        future.add_errback(record.raised)

    bed.produce(o, send, lambda: client.close(timeout=120))


def consumer(o):
    import kafka

    class Listener(kafka.ConsumerRebalanceListener):
        def on_partitions_assigned(self, assigned):
            bed.moved("assigned", [p.partition for p in assigned])

        def on_partitions_revoked(self, revoked):
            bed.moved("revoked", [p.partition for p in revoked])

    client = kafka.KafkaConsumer(
        bootstrap_servers=o["bootstrap"].split(","),
        group_id=o["group"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    client.subscribe([o["topic"]], listener=Listener())

    def poll():
        for records in client.poll(timeout_ms=100).values():
            yield from ((record.partition, record.offset) for record in records)

    bed.consume(poll, client.commit, client.close)
