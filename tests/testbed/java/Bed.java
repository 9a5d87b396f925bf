import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;

/**
 * The test bed's client programs: {@code admin}, {@code produce}, {@code consume}, {@code copy}, {@code share}. Each prints one JSON object for
 * each line on standard output, and ends when standard input ends (so none outlives its starter).
 */
public final class Bed {
    private static final PrintStream OUT =
            new PrintStream(new java.io.BufferedOutputStream(new java.io.FileOutputStream(java.io.FileDescriptor.out),
                    1 << 16), false, StandardCharsets.UTF_8);

    /** What has to be added to {@link System#nanoTime}: never too much. */
    private static final long ZERO_NANOS = zero();

    private Bed() {
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int i = 1; i + 1 < args.length; i += 2) {
            options.put(args[i], args[i + 1]);
        }
        switch (args[0]) {
            case "admin" -> AdminLoop.run(options);
            case "produce" -> ProduceJob.run(options);
            case "consume" -> ConsumeJob.run(options);
            case "copy" -> CopyJob.run(options);
            // By its name: it is compiled against a newer library than the others.
            case "share" -> Class.forName("ShareJob").getDeclaredMethod("run", Map.class).invoke(null, options);
            default -> throw new IllegalArgumentException("no such job: " + args[0]);
        }
    }

    /** Microseconds since the epoch that never go backwards. */
    static long micros() {
        return (ZERO_NANOS + System.nanoTime()) / 1000;
    }

    /**
     * Both clocks at one moment: of some tries the one with the least in between. What is told here is compared with what other
     * programs tell, and nothing may come before its cause.
     */
    private static long zero() {
        long width = Long.MAX_VALUE;
        long zero = 0;
        for (int i = 0; i < 1000; i++) {
            long before = System.nanoTime();
            Instant wall = Instant.now();
            long after = System.nanoTime();
            if (after - before < width) {
                width = after - before;
                zero = wall.getEpochSecond() * 1_000_000_000L + wall.getNano() - after;
            }
        }
        return zero;
    }

    static synchronized void line(String json) {
        OUT.println(json);
        OUT.flush();
    }

    static String quote(String text) {
        if (text == null) {
            return "null";
        }
        StringBuilder b = new StringBuilder("\"");
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '"' || c == '\\') {
                b.append('\\').append(c);
            } else if (c < 0x20) {
                b.append(String.format("\\u%04x", (int) c));
            } else {
                b.append(c);
            }
        }
        return b.append('"').toString();
    }

    static String error(Throwable e) {
        return "\"err\":" + quote(e.getClass().getSimpleName()) + ",\"msg\":" + quote(String.valueOf(e.getMessage()));
    }

    /** "k=v" pairs, separated by line feeds or semicolons. */
    static Map<String, String> pairs(String text) {
        Map<String, String> map = new HashMap<>();
        for (String part : text.split("[;\n]")) {
            int at = part.indexOf('=');
            if (at > 0) {
                map.put(part.substring(0, at), part.substring(at + 1));
            }
        }
        return map;
    }

    /** Runs {@code stop} once, at a line on standard input, at its end, or at SIGTERM; the JVM waits for {@code done}. */
    static void onStop(Runnable stop, java.util.concurrent.CountDownLatch done) {
        Thread in = new Thread(() -> {
            try {
                String line = new BufferedReader(new InputStreamReader(System.in)).readLine();
                if (line == null) {
                    // The starter is gone: nobody reads results.
                    Runtime.getRuntime().halt(1);
                }
            } catch (java.io.IOException e) {
                Runtime.getRuntime().halt(1);
            }
            stop.run();
        }, "stdin");
        in.setDaemon(true);
        in.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stop.run();
            try {
                done.await(60, java.util.concurrent.TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
    }
}
