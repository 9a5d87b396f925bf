import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.apache.curator.RetryPolicy;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.data.Stat;

/**
 * A session of Curator: it leads by a leader latch, holds a lock, keeps a tree cache, has ephemeral nodes and three streams of
 * writes. No call is repeated: the retry policy never allows it. What a cache is told stands for watches.
 */
final class CuratorSession {
    private static final RetryPolicy NO_RETRY = (count, elapsed, sleeper) -> false;

    private final CuratorFramework client;
    private final String root;
    private final String name;

    private CuratorSession(Map<String, String> o) {
        name = o.get("name");
        root = "/bed/" + name;
        client = CuratorFrameworkFactory.builder()
                .connectString(o.get("servers"))
                .sessionTimeoutMs(Integer.parseInt(o.get("timeout")))
                .connectionTimeoutMs(Integer.parseInt(o.get("timeout")))
                .retryPolicy(NO_RETRY)
                .build();
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> o = Lines.options(args);
        Lines.watchInput();
        new CuratorSession(o).run(Double.parseDouble(o.get("rate")));
    }

    private void run(double rate) throws Exception {
        client.getConnectionStateListenable().addListener((c, state) -> state(state));
        client.start();
        client.blockUntilConnected();
        makeEphemerals();
        latch();
        lock();
        cache();
        Lines.line("t", "ready");
        Register register = new Register(this::read, this::write, name);
        Thread[] streams = {
            Lines.stream(rate, register::step),
            Lines.stream(rate, n -> Lines.call(Lines.of("s", "seq", "v", name + "-" + n), () -> Lines.of("path",
                    create("/seq/q-", name + "-" + n, CreateMode.PERSISTENT_SEQUENTIAL)))),
            Lines.stream(rate, this::nodes),
        };
        for (Thread stream : streams) {
            stream.join();
        }
        client.close();
        Lines.line("t", "end");
        Runtime.getRuntime().halt(0);
    }

    private void state(ConnectionState state) {
        if (Lines.isStopped()) {
            return;
        }
        String what = switch (state) {
            case CONNECTED, RECONNECTED -> "connected";
            case SUSPENDED -> "disconnected";
            case LOST -> "expired";
            default -> state.toString();
        };
        Lines.line("t", "session", "at", Lines.micros(), "what", what, "id", "");
        if (state == ConnectionState.LOST) {
            Lines.daemon(n -> {
                client.blockUntilConnected();
                makeEphemerals();
            });
        }
    }

    private void makeEphemerals() throws Exception {
        for (Object[] e : new Object[][] {{"/live/e", CreateMode.EPHEMERAL}, {"/live/s-", CreateMode.EPHEMERAL_SEQUENTIAL}}) {
            while (!Lines.isStopped()) {
                try {
                    String path = create((String) e[0], "", (CreateMode) e[1]);
                    Lines.line("t", "live", "at", Lines.micros(), "path", path);
                    break;
                } catch (Exception again) {
                    Thread.sleep(100);
                }
            }
        }
    }

    private static void recipe(String which, String what) {
        if (!Lines.isStopped()) {
            Lines.line("t", "recipe", "at", Lines.micros(), "which", which, "what", what);
        }
    }

    /** Nobody else competes for it: it is lost only by what befalls the session. */
    private void latch() throws Exception {
        CountDownLatch first = new CountDownLatch(1);
        LeaderLatch latch = new LeaderLatch(client, root + "/latch", name);
        latch.addListener(new LeaderLatchListener() {
            @Override
            public void isLeader() {
                recipe("latch", "got");
                first.countDown();
            }

            @Override
            public void notLeader() {
                recipe("latch", "lost");
            }
        });
        latch.start();
        first.await();
    }

    /** Held all the time. As Curator's manual tells applications, they take it for lost while the connection is. */
    private void lock() throws Exception {
        InterProcessMutex lock = new InterProcessMutex(client, root + "/lock");
        lock.acquire();
        recipe("lock", "got");
        client.getConnectionStateListenable().addListener((c, state) -> {
            if (state == ConnectionState.SUSPENDED) {
                recipe("lock", "lost");
            }
        });
    }

    /** What it tells of a node is an event, and leaves it watching for the next one. */
    private void cache() throws Exception {
        CountDownLatch whole = new CountDownLatch(1);
        TreeCache cache = TreeCache.newBuilder(client, root + "/watch").build();
        cache.getListenable().addListener((c, event) -> {
            switch (event.getType()) {
                case INITIALIZED -> whole.countDown();
                case NODE_ADDED -> told(event.getData().getPath(), "created", event.getData().getStat());
                case NODE_UPDATED -> told(event.getData().getPath(), "changed", event.getData().getStat());
                case NODE_REMOVED -> told(event.getData().getPath(), "deleted", null);
                default -> { }
            }
        });
        cache.start();
        whole.await();
        Lines.line("t", "arm", "k", "data", "sent", Lines.micros(), "at", Lines.micros(),
                "z", cache.getCurrentData(root + "/watch/data").getStat().getMzxid());
        Lines.line("t", "arm", "k", "child", "sent", Lines.micros(), "at", Lines.micros(),
                "z", client.checkExists().forPath(root + "/watch/child").getPzxid());
        Lines.line("t", "arm", "k", "exist", "sent", Lines.micros(), "at", Lines.micros(), "z", 0);
        initialized = true;
    }

    private volatile boolean initialized;

    private void told(String path, String what, Stat stat) {
        String below = path.substring(Math.min(path.length(), (root + "/watch/").length()));
        String kind = below.startsWith("child/") ? "child" : below;
        if (!initialized || !(kind.equals("child") && below.contains("/") || kind.equals("data") || kind.equals("exist"))) {
            return;
        }
        long now = Lines.micros();
        boolean child = kind.equals("child");
        Lines.line("t", "event", "k", kind, "at", now, "e", child ? "children" : what);
        // A removal has no transaction here: 0.
        long state = stat == null ? 0 : kind.equals("data") ? stat.getMzxid() : stat.getCzxid();
        Lines.line("t", "arm", "k", kind, "sent", now, "at", now, "z", state);
    }

    private Object[] read() throws Exception {
        Stat stat = new Stat();
        byte[] data = client.getData().storingStatIn(stat).forPath(root + "/register");
        return Lines.of("v", new String(data, StandardCharsets.UTF_8), "ver", stat.getVersion());
    }

    private int write(String value, int base) throws Exception {
        byte[] data = value.getBytes(StandardCharsets.UTF_8);
        return client.setData().withVersion(base).forPath(root + "/register", data).getVersion();
    }

    private void nodes(long n) throws Exception {
        Object[] made = Lines.call(Lines.of("s", "create", "v", "n-" + n), () -> {
            create("/nodes/n-" + n, "x", CreateMode.PERSISTENT);
            return Lines.of();
        });
        if (made != null && n % 2 == 0) {
            Lines.call(Lines.of("s", "delete", "v", "n-" + n), () -> {
                client.delete().forPath(root + "/nodes/n-" + n);
                return Lines.of();
            });
        }
    }

    private String create(String path, String data, CreateMode mode) throws Exception {
        return client.create().withMode(mode).forPath(root + path, data.getBytes(StandardCharsets.UTF_8));
    }
}
