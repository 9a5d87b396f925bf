import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Callable;

/** What the Java programs have in common: options, the lines that they print (see ../README.md), when to do what. */
final class Lines {
    private static final PrintStream OUT = new PrintStream(
            new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), false, StandardCharsets.UTF_8);
    /** What has to be added to {@link System#nanoTime}: never too much. */
    private static final long ZERO_NANOS = zero();
    private static volatile boolean stopped;

    private Lines() {
    }

    /** A step of a stream; its number counts from 0. */
    interface Step {
        void take(long n) throws Exception;
    }

    static Map<String, String> options(String[] args) {
        Map<String, String> map = new HashMap<>();
        for (int i = 0; i + 1 < args.length; i += 2) {
            map.put(args[i].substring(2), args[i + 1]);
        }
        return map;
    }

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

    /** Prints an object of these names and values. */
    static void line(Object... pairs) {
        StringBuilder b = new StringBuilder("{");
        append(b, pairs);
        synchronized (OUT) {
            OUT.println(b.append('}'));
            OUT.flush();
        }
    }

    private static void append(StringBuilder b, Object... pairs) {
        for (int i = 0; i + 1 < pairs.length; i += 2) {
            b.append(b.length() > 1 ? ",\"" : "\"").append(pairs[i]).append("\":");
            if (pairs[i + 1] instanceof Number) {
                b.append(pairs[i + 1]);
            } else {
                b.append('"');
                for (char c : String.valueOf(pairs[i + 1]).toCharArray()) {
                    b.append(c == '"' || c == '\\' ? "\\" + c : c < 0x20 ? " " : String.valueOf(c));
                }
                b.append('"');
            }
        }
    }

    static boolean isStopped() {
        return stopped;
    }

    /** A line on standard input stops the streams; its end ends the program at once. */
    static void watchInput() {
        Thread in = new Thread(() -> {
            try {
                if (new BufferedReader(new InputStreamReader(System.in)).readLine() == null) {
                    Runtime.getRuntime().halt(1);
                }
            } catch (IOException e) {
                Runtime.getRuntime().halt(1);
            }
            stopped = true;
        });
        in.setDaemon(true);
        in.start();
    }

    static void daemon(Step step) {
        Thread thread = new Thread(() -> {
            try {
                step.take(0);
            } catch (Exception e) {
                e.printStackTrace();
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    /** A stream of calls at a rate, in a thread of its own. */
    static Thread stream(double rate, Step step) {
        Thread thread = new Thread(() -> {
            long each = (long) (1e9 / rate);
            long due = System.nanoTime();
            try {
                for (long n = 0; !stopped; n++) {
                    due = Math.max(due + each, System.nanoTime() - 1_000_000_000L);
                    long left = due - System.nanoTime();
                    if (left > 0) {
                        Thread.sleep(left / 1_000_000, (int) (left % 1_000_000));
                    }
                    step.take(n);
                }
            } catch (Exception e) {
                e.printStackTrace();
                Runtime.getRuntime().halt(2);
            }
        });
        thread.start();
        return thread;
    }

    /** Makes a call and tells of its outcome; null when it failed. What it returns are further names and values of the line. */
    static Object[] call(Object[] head, Callable<Object[]> what) throws InterruptedException {
        Object[] before = join(new Object[] {"t", "op"}, head, new Object[] {"sent", micros()});
        try {
            Object[] result = what.call();
            line(join(before, new Object[] {"done", micros()}, result));
            return result;
        } catch (InterruptedException e) {
            throw e;
        } catch (Exception e) {
            line(join(before, new Object[] {"done", micros(), "err", e.getClass().getSimpleName(), "msg", e.getMessage()}));
            Thread.sleep(20);
            return null;
        }
    }

    static Object[] of(Object... pairs) {
        return pairs;
    }

    private static Object[] join(Object[]... parts) {
        return java.util.Arrays.stream(parts).flatMap(java.util.Arrays::stream).toArray();
    }
}
