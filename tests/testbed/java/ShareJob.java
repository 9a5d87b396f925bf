import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A member of a share group (KIP-932). One line for each record, failed acknowledgement and error. Compiled apart from
 * the other programs, against a library that has share groups.
 */
final class ShareJob {
    private ShareJob() {
    }

    static void run(Map<String, String> o) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", o.get("--bootstrap"));
        // A share group begins at the end of its topics unless its own settings say otherwise.
        try (Admin admin = Admin.create(p)) {
            ConfigResource group = new ConfigResource(ConfigResource.Type.GROUP, o.get("--group"));
            ConfigEntry earliest = new ConfigEntry("share.auto.offset.reset", "earliest");
            admin.incrementalAlterConfigs(Map.of(group, List.of(new AlterConfigOp(earliest, AlterConfigOp.OpType.SET))))
                    .all().get();
        }
        p.put("group.id", o.get("--group"));
        p.put("client.id", o.get("--id"));
        p.putAll(Bed.pairs(o.getOrDefault("--config", "")));

        AtomicBoolean stopped = new AtomicBoolean();
        CountDownLatch done = new CountDownLatch(1);
        Bed.onStop(() -> stopped.set(true), done);
        KafkaShareConsumer<byte[], byte[]> consumer =
                new KafkaShareConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.setAcknowledgementCommitCallback((offsets, error) -> {
            if (error != null) {
                Bed.line("{\"t\":\"error\",\"at\":" + Bed.micros() + ",\"in\":\"acknowledge\"," + Bed.error(error) + "}");
            } else {
                Bed.line("{\"t\":\"commit\",\"at\":" + Bed.micros() + "}");
            }
        });
        consumer.subscribe(List.of(o.get("--topic")));
        while (!stopped.get()) {
            try {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                    String value = new String(r.value(), StandardCharsets.UTF_8);
                    int end = value.lastIndexOf('|');
                    Bed.line("{\"t\":\"r\",\"at\":" + Bed.micros() + ",\"p\":" + r.partition() + ",\"o\":" + r.offset()
                            + ",\"v\":" + Bed.quote(end < 0 ? value : value.substring(0, end + 1)) + "}");
                }
            } catch (RuntimeException e) {
                Bed.line("{\"t\":\"error\",\"at\":" + Bed.micros() + ",\"in\":\"poll\"," + Bed.error(e) + "}");
            }
        }
        try {
            consumer.close(Duration.ofSeconds(10));
        } catch (RuntimeException e) {
            Bed.line("{\"t\":\"error\",\"at\":" + Bed.micros() + ",\"in\":\"close\"," + Bed.error(e) + "}");
        }
        Bed.line("{\"t\":\"end\"}");
        done.countDown();
        System.exit(0);
    }
}
