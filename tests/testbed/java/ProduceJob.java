import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * A plain producer that does not retry. Record n goes to partition n mod P with the sequence number n div P, both
 * written into its value as {@code id|partition|sequence|padding}. One line for each outcome.
 */
final class ProduceJob {
    private ProduceJob() {
    }

    static void run(Map<String, String> o) throws Exception {
        String topic = o.get("--topic");
        String id = o.get("--id");
        int partitions = Integer.parseInt(o.get("--partitions"));
        double rate = Double.parseDouble(o.get("--rate"));
        long count = Long.parseLong(o.getOrDefault("--count", "0"));
        String padding = "x".repeat(Integer.parseInt(o.getOrDefault("--padding", "0")));

        Properties p = new Properties();
        p.put("bootstrap.servers", o.get("--bootstrap"));
        p.put("client.id", id);
        p.put("acks", "all");
        p.put("retries", "0");
        p.put("enable.idempotence", "false");
        p.put("linger.ms", "0");
        // Long enough that a batch ends by its request's time-out (30 s) and not before.
        p.put("delivery.timeout.ms", "120000");
        p.put("max.block.ms", "120000");
        p.putAll(Bed.pairs(o.getOrDefault("--config", "")));

        AtomicBoolean stopped = new AtomicBoolean();
        CountDownLatch done = new CountDownLatch(1);
        Bed.onStop(() -> stopped.set(true), done);
        KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
        producer.partitionsFor(topic);
        Bed.line("{\"t\":\"ready\"}");

        long start = System.nanoTime();
        long n = 0;
        for (; !stopped.get() && (count == 0 || n < count); n++) {
            long due = start + (long) (n * 1e9 / rate);
            long wait;
            while ((wait = due - System.nanoTime()) > 0 && !stopped.get()) {
                TimeUnit.NANOSECONDS.sleep(Math.min(wait, 50_000_000L));
            }
            int partition = (int) (n % partitions);
            long seq = n / partitions;
            byte[] key = (id + "-" + partition).getBytes(StandardCharsets.UTF_8);
            byte[] value = (id + "|" + partition + "|" + seq + "|" + padding).getBytes(StandardCharsets.UTF_8);
            long sent = Bed.micros();
            String head = "{\"t\":\"r\",\"p\":" + partition + ",\"s\":" + seq + ",\"sent\":" + sent + ",\"done\":";
            try {
                producer.send(new ProducerRecord<>(topic, partition, key, value), (meta, error) ->
                        Bed.line(head + Bed.micros() + ","
                                + (error == null ? "\"off\":" + meta.offset() : Bed.error(error)) + "}"));
            } catch (RuntimeException e) {
                Bed.line(head + Bed.micros() + "," + Bed.error(e) + "}");
            }
        }
        producer.close();
        Bed.line("{\"t\":\"end\",\"sent\":" + n + "}");
        done.countDown();
        System.exit(0);
    }
}
