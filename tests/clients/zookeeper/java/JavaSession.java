import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * A session of ZooKeeper's own Java client: ephemerals, watches that are set again each time, three streams of writes, and,
 * with {@code --tree on}, a persistent recursive watch. No call is repeated.
 */
final class JavaSession {
    private final String root;
    private final String name;
    private final String servers;
    private final int timeout;
    private final boolean tree;
    private final boolean own;
    private volatile ZooKeeper zk;
    private volatile CountDownLatch connected = new CountDownLatch(1);
    /** Tells of the changes below the tree. One for all sessions: a library that sets it again and a program that does are one. */
    private final Watcher planted = event -> {
        if (event.getType() != Watcher.Event.EventType.None) {
            Lines.line("t", "tree", "at", Lines.micros(), "path", event.getPath(), "e", word(event));
        }
    };

    private JavaSession(Map<String, String> o) {
        name = o.get("name");
        root = "/bed/" + name;
        servers = o.get("servers");
        timeout = Integer.parseInt(o.get("timeout"));
        tree = "on".equals(o.get("tree"));
        own = "on".equals(o.get("own"));
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> o = Lines.options(args);
        Lines.watchInput();
        new JavaSession(o).run(Double.parseDouble(o.get("rate")));
    }

    private void run(double rate) throws Exception {
        open();
        for (String kind : new String[] {"data", "child", "exist"}) {
            Lines.daemon(n -> watch(kind));
        }
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
        zk.close();
        Lines.line("t", "end");
        Runtime.getRuntime().halt(0);
    }

    /** Makes a session and what belongs to it. */
    private synchronized void open() throws Exception {
        CountDownLatch latch = new CountDownLatch(1);
        connected = latch;
        zk = new ZooKeeper(servers, timeout, event -> session(event, latch));
        latch.await();
        if (own) {
            zk.addAuthInfo("digest", "app:word".getBytes(StandardCharsets.UTF_8));
        }
        for (Object[] e : new Object[][] {{"/live/e", CreateMode.EPHEMERAL}, {"/live/s-", CreateMode.EPHEMERAL_SEQUENTIAL}}) {
            String path = create((String) e[0], "", (CreateMode) e[1]);
            Lines.line("t", "live", "at", Lines.micros(), "path", path);
        }
        if (tree) {
            plant(zk);
        }
    }

    private void plant(ZooKeeper session) throws KeeperException, InterruptedException {
        session.addWatch(root + "/tree", planted, AddWatchMode.PERSISTENT_RECURSIVE);
        Lines.line("t", "planted", "at", Lines.micros());
    }

    /** The library sets its watch again after a reconnect; when it has done so is known by this. */
    private void plantAgain(ZooKeeper session) throws InterruptedException {
        while (!Lines.isStopped() && session.getState().isConnected()) {
            try {
                plant(session);
                return;
            } catch (KeeperException e) {
                Thread.sleep(50);
            }
        }
    }

    private void session(WatchedEvent event, CountDownLatch latch) {
        String what = switch (event.getState()) {
            case SyncConnected -> "connected";
            case Disconnected -> "disconnected";
            case Expired -> "expired";
            default -> "other";
        };
        if (event.getType() != Watcher.Event.EventType.None || what.equals("other")) {
            return;
        }
        Lines.line("t", "session", "at", Lines.micros(), "what", what, "id", Long.toHexString(zk == null ? 0 : zk.getSessionId()));
        if (what.equals("connected")) {
            boolean again = latch.getCount() == 0;
            ZooKeeper session = zk;
            latch.countDown();
            if (again && tree && session != null) {
                Lines.daemon(n -> plantAgain(session));
            }
        } else if (what.equals("expired")) {
            // As an application does that was told so. Not in the library's own thread.
            Lines.daemon(n -> reopen());
        }
    }

    private void reopen() throws Exception {
        while (!Lines.isStopped()) {
            try {
                open();
                return;
            } catch (KeeperException e) {
                Thread.sleep(100);
            }
        }
    }

    private void watch(String kind) throws InterruptedException {
        while (!Lines.isStopped()) {
            LinkedBlockingQueue<Object[]> events = new LinkedBlockingQueue<>();
            // Only what is no news of the session ends a watch; the library sets it again by itself.
            Watcher watcher = event -> {
                boolean expired = event.getState() == Watcher.Event.KeeperState.Expired;
                if (event.getType() != Watcher.Event.EventType.None || expired) {
                    events.add(Lines.of(Lines.micros(), expired ? "" : word(event)));
                }
            };
            long sent = Lines.micros();
            long state;
            try {
                state = arm(kind, watcher);
            } catch (KeeperException e) {
                Thread.sleep(50);
                continue;
            }
            Lines.line("t", "arm", "k", kind, "sent", sent, "at", Lines.micros(), "z", state);
            Object[] event = events.take();
            if (event[1].equals("")) {
                Lines.line("t", "dropped", "k", kind, "at", event[0]);
            } else {
                Lines.line("t", "event", "k", kind, "at", event[0], "e", event[1]);
            }
        }
    }

    private long arm(String kind, Watcher watcher) throws KeeperException, InterruptedException {
        String path = root + "/watch/" + kind;
        Stat stat = new Stat();
        switch (kind) {
            case "data":
                zk.getData(path, watcher, stat);
                return stat.getMzxid();
            case "child":
                zk.getChildren(path, watcher, stat);
                return stat.getPzxid();
            default:
                stat = zk.exists(path, watcher);
                return stat == null ? 0 : stat.getCzxid();
        }
    }

    static String word(WatchedEvent event) {
        return switch (event.getType()) {
            case NodeCreated -> "created";
            case NodeDeleted -> "deleted";
            case NodeDataChanged -> "changed";
            case NodeChildrenChanged -> "children";
            default -> event.getType().toString();
        };
    }

    private Object[] read() throws Exception {
        Stat stat = new Stat();
        byte[] data = zk.getData(root + "/register", false, stat);
        return Lines.of("v", new String(data, StandardCharsets.UTF_8), "ver", stat.getVersion());
    }

    private int write(String value, int base) throws Exception {
        return zk.setData(root + "/register", value.getBytes(StandardCharsets.UTF_8), base).getVersion();
    }

    private void nodes(long n) throws Exception {
        Object[] made = Lines.call(Lines.of("s", "create", "v", "n-" + n), () -> {
            create("/nodes/n-" + n, "x", CreateMode.PERSISTENT);
            return Lines.of();
        });
        if (made != null && n % 2 == 0) {
            Lines.call(Lines.of("s", "delete", "v", "n-" + n), () -> {
                zk.delete(root + "/nodes/n-" + n, -1);
                return Lines.of();
            });
        }
    }

    private String create(String path, String data, CreateMode mode) throws KeeperException, InterruptedException {
        return zk.create(root + path, data.getBytes(StandardCharsets.UTF_8),
                own ? ZooDefs.Ids.CREATOR_ALL_ACL : ZooDefs.Ids.OPEN_ACL_UNSAFE, mode);
    }
}
