import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A member of a consumer group. One line for each record, change of assignment, error and commit. */
final class ConsumeJob {
    private ConsumeJob() {
    }

    private static String list(Collection<TopicPartition> partitions) {
        List<String> out = new ArrayList<>();
        partitions.stream().map(TopicPartition::partition).sorted().forEach(n -> out.add(String.valueOf(n)));
        return "[" + String.join(",", out) + "]";
    }

    static void run(Map<String, String> o) {
        Properties p = new Properties();
        p.put("bootstrap.servers", o.get("--bootstrap"));
        p.put("group.id", o.get("--group"));
        p.put("client.id", o.get("--id"));
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.putAll(Bed.pairs(o.getOrDefault("--config", "")));

        AtomicBoolean stopped = new AtomicBoolean();
        CountDownLatch done = new CountDownLatch(1);
        Bed.onStop(() -> stopped.set(true), done);
        KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.subscribe(List.of(o.get("--topic")), new ConsumerRebalanceListener() {
            private void say(String what, Collection<TopicPartition> partitions) {
                Bed.line("{\"t\":\"" + what + "\",\"at\":" + Bed.micros() + ",\"p\":" + list(partitions) + ",\"gen\":"
                        + consumer.groupMetadata().generationId() + ",\"member\":"
                        + Bed.quote(consumer.groupMetadata().memberId()) + "}");
            }

            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                say("assigned", partitions);
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                say("revoked", partitions);
            }

            @Override
            public void onPartitionsLost(Collection<TopicPartition> partitions) {
                say("lost", partitions);
            }
        });
        long commitAt = System.nanoTime();
        boolean fresh = false;
        while (!stopped.get()) {
            try {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                    fresh = true;
                    String value = new String(r.value(), StandardCharsets.UTF_8);
                    // Padding is of no use to the judge.
                    int end = value.lastIndexOf('|');
                    Bed.line("{\"t\":\"r\",\"at\":" + Bed.micros() + ",\"p\":" + r.partition() + ",\"o\":" + r.offset()
                            + ",\"v\":" + Bed.quote(end < 0 ? value : value.substring(0, end + 1)) + "}");
                }
            } catch (RuntimeException e) {
                Bed.line("{\"t\":\"error\",\"at\":" + Bed.micros() + ",\"in\":\"poll\"," + Bed.error(e) + "}");
            }
            if (fresh && System.nanoTime() - commitAt > 1_000_000_000L) {
                commitAt = System.nanoTime();
                fresh = false;
                commit(consumer);
            }
        }
        commit(consumer);
        try {
            consumer.close(Duration.ofSeconds(10));
        } catch (RuntimeException e) {
            Bed.line("{\"t\":\"error\",\"at\":" + Bed.micros() + ",\"in\":\"close\"," + Bed.error(e) + "}");
        }
        Bed.line("{\"t\":\"end\"}");
        done.countDown();
        System.exit(0);
    }

    private static void commit(KafkaConsumer<byte[], byte[]> consumer) {
        long start = Bed.micros();
        try {
            consumer.commitSync(Duration.ofSeconds(60));
            Bed.line("{\"t\":\"commit\",\"at\":" + Bed.micros() + ",\"us\":" + (Bed.micros() - start) + "}");
        } catch (RuntimeException e) {
            Bed.line("{\"t\":\"error\",\"at\":" + Bed.micros() + ",\"in\":\"commit\"," + Bed.error(e) + "}");
        }
    }
}
