import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Copies a topic into another, exactly once: what is read, its copy and the position go together in transactions. A
 * transaction that fails is aborted and done again from the last committed positions; when the producer can't go on, a new
 * one takes its place. One line for each transaction and each failure.
 */
final class CopyJob {
    private final Map<String, String> options;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private KafkaProducer<byte[], byte[]> producer;

    private CopyJob(Map<String, String> options) {
        this.options = options;
        Properties p = new Properties();
        p.put("bootstrap.servers", options.get("--bootstrap"));
        p.put("group.id", options.get("--group"));
        p.put("client.id", options.get("--id"));
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.put("isolation.level", "read_committed");
        consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static void run(Map<String, String> o) {
        AtomicBoolean stopped = new AtomicBoolean();
        CountDownLatch done = new CountDownLatch(1);
        Bed.onStop(() -> stopped.set(true), done);
        new CopyJob(o).copy(stopped);
        Bed.line("{\"t\":\"end\"}");
        done.countDown();
        System.exit(0);
    }

    private void copy(AtomicBoolean stopped) {
        consumer.subscribe(List.of(options.get("--topic")));
        while (!stopped.get()) {
            try {
                if (producer == null) {
                    producer = fresh();
                    Bed.line("{\"t\":\"ready\"}");
                }
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(100));
                if (!records.isEmpty()) {
                    transaction(records);
                }
            } catch (KafkaException e) {
                Bed.line("{\"t\":\"error\",\"at\":" + Bed.micros() + ",\"in\":\"transaction\"," + Bed.error(e) + "}");
                abort();
                rewind();
            }
        }
        consumer.close(Duration.ofSeconds(10));
        if (producer != null) {
            producer.close(Duration.ofSeconds(10));
        }
    }

    private KafkaProducer<byte[], byte[]> fresh() {
        Properties p = new Properties();
        p.put("bootstrap.servers", options.get("--bootstrap"));
        p.put("client.id", options.get("--id"));
        p.put("transactional.id", options.get("--id"));
        p.put("linger.ms", "0");
        KafkaProducer<byte[], byte[]> made = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
        try {
            made.initTransactions();
        } catch (KafkaException e) {
            made.close(Duration.ZERO);
            throw e;
        }
        return made;
    }

    private void transaction(ConsumerRecords<byte[], byte[]> records) {
        long start = Bed.micros();
        producer.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> r : records) {
            producer.send(new ProducerRecord<>(options.get("--to"), r.partition(), r.key(), r.value()));
            positions.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
        }
        producer.sendOffsetsToTransaction(positions, consumer.groupMetadata());
        producer.commitTransaction();
        Bed.line("{\"t\":\"txn\",\"records\":" + records.count() + ",\"us\":" + (Bed.micros() - start) + "}");
    }

    private void abort() {
        if (producer == null) {
            return;
        }
        try {
            producer.abortTransaction();
        } catch (RuntimeException e) {
            // Fenced, or in a state in which it can't go on.
            Bed.line("{\"t\":\"error\",\"at\":" + Bed.micros() + ",\"in\":\"abort\"," + Bed.error(e) + "}");
            producer.close(Duration.ZERO);
            producer = null;
        }
    }

    /** Back to what the last transaction that succeeded says. */
    private void rewind() {
        while (true) {
            try {
                Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(consumer.assignment());
                for (Map.Entry<TopicPartition, OffsetAndMetadata> e : committed.entrySet()) {
                    if (e.getValue() == null) {
                        consumer.seekToBeginning(List.of(e.getKey()));
                    } else {
                        consumer.seek(e.getKey(), e.getValue().offset());
                    }
                }
                return;
            } catch (KafkaException e) {
                Bed.line("{\"t\":\"error\",\"at\":" + Bed.micros() + ",\"in\":\"rewind\"," + Bed.error(e) + "}");
            }
        }
    }
}
