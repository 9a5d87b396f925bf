"""A session of kazoo: ephemerals, watches that are set again each time, and three streams of writes. No call is repeated.

The lines that it prints are described in ../README.md. It borrows bed.py of the Kafka programs.
"""
import queue
import sys
import threading
import time

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException
from kazoo.protocol.states import EventType
from kazoo.security import CREATOR_ALL_ACL

import bed
from bed import STOP, line, micros

TYPES = {
    EventType.CREATED: "created",
    EventType.DELETED: "deleted",
    EventType.CHANGED: "changed",
    EventType.CHILD: "children",
}


class Session:
    def __init__(self, o):
        self.root = f"/bed/{o['name']}"
        self.name = o["name"]
        self.pause = 1 / float(o["rate"])
        own = {"default_acl": CREATOR_ALL_ACL, "auth_data": [("digest", "app:word")]} if o.get("own") == "on" else {}
        self.client = KazooClient(hosts=o["servers"], timeout=float(o["timeout"]) / 1000, **own)
        self.lost = threading.Event()
        self.client.add_listener(self.changed)

    def changed(self, state):
        what = {KazooState.CONNECTED: "connected", KazooState.SUSPENDED: "disconnected", KazooState.LOST: "expired"}
        line({"t": "session", "at": micros(), "what": what[state], "id": f"{(self.client.client_id or [0])[0]:x}"})
        if state == KazooState.LOST:
            self.lost.set()

    def run(self):
        self.client.start(timeout=60)
        self.make_ephemerals()
        threads = [self.watch_data, self.watch_child, self.watch_exist]
        for thread in threads:
            threading.Thread(target=thread, daemon=True).start()
        threading.Thread(target=self.remake_ephemerals, daemon=True).start()
        line({"t": "ready"})
        streams = [threading.Thread(target=s) for s in (self.register, self.sequence, self.nodes)]
        for stream in streams:
            stream.start()
        for stream in streams:
            stream.join()
        self.client.remove_listener(self.changed)
        self.client.stop()
        line({"t": "end"})
        bed.leave()

    def make_ephemerals(self):
        for path, sequence in (("/live/e", False), ("/live/s-", True)):
            path = self.client.create(self.root + path, b"", ephemeral=True, sequence=sequence)
            line({"t": "live", "at": micros(), "path": path})

    def remake_ephemerals(self):
        """As an application does that was told that its session has ended."""
        while not STOP.is_set():
            self.lost.wait()
            try:
                self.make_ephemerals()
                self.lost.clear()
            except KazooException:
                time.sleep(0.1)

    def watch_data(self):
        self.watch("data", lambda told: self.client.get(f"{self.root}/watch/data", watch=told)[1].mzxid)

    def watch_child(self):
        path = f"{self.root}/watch/child"
        self.watch("child", lambda told: self.client.get_children(path, watch=told, include_data=True)[1].pzxid)

    def watch_exist(self):
        def arm(told):
            stat = self.client.exists(f"{self.root}/watch/exist", watch=told)
            return stat.czxid if stat else 0

        self.watch("exist", arm)

    def watch(self, kind, arm):
        while not STOP.is_set():
            events = queue.Queue()
            sent = micros()
            try:
                state = arm(lambda event: events.put((micros(), event.type)))
            except Exception:  # whatever hindered it: it is set again
                time.sleep(0.05)
                continue
            line({"t": "arm", "k": kind, "sent": sent, "at": micros(), "z": state})
            at, what = events.get()
            if what == EventType.NONE:
                line({"t": "dropped", "k": kind, "at": at})
            else:
                line({"t": "event", "k": kind, "at": at, "e": TYPES[what]})

    def stream(self, step):
        due = time.monotonic()
        n = 0
        while not STOP.is_set():
            due = max(due + self.pause, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))
            step(n)
            n += 1

    def call(self, head, what):
        head = {"t": "op", **head, "sent": micros()}
        try:
            result = what()
        except Exception as error:  # every error is a result here
            line({**head, "done": micros(), "err": type(error).__name__, "msg": str(error)})
            time.sleep(0.02)
            return None
        line({**head, "done": micros(), **result})
        return result

    def register(self):
        path = f"{self.root}/register"
        known = [None]

        def read():
            data, stat = self.client.get(path)
            return {"v": data.decode(), "ver": stat.version}

        def step(n):
            if known[0] is None:
                result = self.call({"s": "read"}, read)
                known[0] = result["ver"] if result else None
                return
            value, base = f"{self.name}-{n}", known[0]

            def write():
                return {"ver": self.client.set(path, value.encode(), version=base).version}

            result = self.call({"s": "set", "v": value, "base": base}, write)
            known[0] = result["ver"] if result else None

        self.stream(step)

    def sequence(self):
        def step(n):
            value = f"{self.name}-{n}"

            def make():
                return {"path": self.client.create(f"{self.root}/seq/q-", value.encode(), sequence=True)}

            self.call({"s": "seq", "v": value}, make)

        self.stream(step)

    def nodes(self):
        def step(n):
            path = f"{self.root}/nodes/n-{n}"
            made = self.call({"s": "create", "v": f"n-{n}"}, lambda: self.client.create(path, b"x") and {})
            if made is not None and n % 2 == 0:
                self.call({"s": "delete", "v": f"n-{n}"}, lambda: self.client.delete(path) and {} or {})

        self.stream(step)


if __name__ == "__main__":
    options = bed.options(sys.argv[1:])
    bed.watch_stdin()
    Session(options).run()
