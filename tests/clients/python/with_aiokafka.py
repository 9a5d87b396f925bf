"""aiokafka, which lives in an event loop."""
import asyncio
import time

import bed


def producer(o):
    asyncio.run(_produce(o))


async def _produce(o):
    from aiokafka import AIOKafkaProducer

    client = AIOKafkaProducer(bootstrap_servers=o["bootstrap"])
    await client.start()
    await client.partitions_for(o["topic"])
    bed.line({"t": "ready"})

    def told(record, future):
        if future.exception() is None:
            record.success(future.result().offset)
        else:
            record.raised(future.exception())

    rate, n = float(o["rate"]), 0
    start = time.monotonic()
    while not bed.STOP.is_set():
        left = start + n / rate - time.monotonic()
        if left > 0:
            await asyncio.sleep(min(left, 0.02))
            continue
        record = bed.Produced(o, n)
        n += 1
        try:
            # It returns as soon as there is room for the record.
            future = await client.send(o["topic"], value=record.value, key=record.key, partition=record.partition)
        except Exception as error:  # every error is a result here
            record.raised(error)
            continue
        future.add_done_callback(lambda future, record=record: told(record, future))
    await client.stop()
    # The last outcomes are told by callbacks of this loop.
    await asyncio.sleep(0)
    bed.line({"t": "end", "sent": n})
    bed.leave()


def consumer(o):
    asyncio.run(_consume(o))


async def _consume(o):
    import aiokafka

    class Listener(aiokafka.ConsumerRebalanceListener):
        async def on_partitions_assigned(self, assigned):
            bed.moved("assigned", [p.partition for p in assigned])

        async def on_partitions_revoked(self, revoked):
            bed.moved("revoked", [p.partition for p in revoked])

    client = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=o["bootstrap"],
        group_id=o["group"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    client.subscribe([o["topic"]], listener=Listener())
    await client.start()

    async def attempt(name, call):
        try:
            await call()
        except Exception as error:  # every error is a result here
            bed.failed(name, error)
        else:
            if name == "commit":
                bed.line({"t": "commit", "at": bed.micros()})

    last, fresh = time.monotonic(), False
    while not bed.STOP.is_set():
        try:
            for records in (await client.getmany(timeout_ms=100)).values():
                for record in records:
                    fresh = True
                    bed.line({"t": "r", "p": record.partition, "o": record.offset})
        except Exception as error:  # every error is a result here
            bed.failed("poll", error)
            await asyncio.sleep(0.1)
        if fresh and time.monotonic() - last > 1:
            last, fresh = time.monotonic(), False
            await attempt("commit", client.commit)
    await attempt("commit", client.commit)
    await attempt("close", client.stop)
    bed.line({"t": "end"})
    bed.leave()
