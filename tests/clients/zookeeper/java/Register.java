import java.util.concurrent.Callable;

/** Writes to a node under the condition that its version is the one that is known; reads it when none is. */
final class Register {
    /** Gives the new version. */
    interface Write {
        int to(String value, int base) throws Exception;
    }

    private final Callable<Object[]> read;
    private final Write write;
    private final String name;
    private Integer known;

    Register(Callable<Object[]> read, Write write, String name) {
        this.read = read;
        this.write = write;
        this.name = name;
    }

    void step(long n) throws InterruptedException {
        if (known == null) {
            Object[] result = Lines.call(Lines.of("s", "read"), read);
            known = result == null ? null : (Integer) result[3];
            return;
        }
        String value = name + "-" + n;
        int base = known;
        Object[] result = Lines.call(Lines.of("s", "set", "v", value, "base", base), () -> Lines.of("ver", write.to(value, base)));
        known = result == null ? null : (Integer) result[1];
    }
}
