"""A TCP link that can be made bad while it runs.

Each connection is pumped by two threads, one a direction ("up" to the service,
"down" to the device). The mode holds for living connections and for new ones:

  pass       nothing happens
  cut        each connection ends (reset or closed) after some more bytes of one direction
  stall      connections are taken, nothing is forwarded, nothing is lost
  half-open  what goes in one direction vanishes, and so does its end
  garbage    random bytes between the frames of HTTP/2, in both directions
  trickle    one byte a second
  refuse     nobody listens, and living connections are reset
  latency    what arrives is forwarded later

Garbage stands between frames: inside of one it could change a row's bytes, and
only TLS could tell. `counts` says what was done to whom, as "cut up", "stall
down", ... A connection that lost or gained bytes cannot be healed: the next mode
resets it, as the first packet after a router's restart would.
"""
import collections
import contextlib
import random
import select
import socket
import struct
import threading
import time

KINDS = ("cut", "stall", "half-open", "garbage", "trickle", "refuse", "latency")
DIRECTIONS = ("up", "down")
# What must have been counted of a run in which everything happened.
EFFECTS = tuple(f"{kind} {direction}" for kind in KINDS if kind != "refuse"
                for direction in DIRECTIONS) + ("refuse",)
PREFACE_BYTES = 24
FRAME_HEADER_BYTES = 9
LOOK_S = 0.05


class Frames:
    """Where in a direction's stream of HTTP/2 the frames end."""

    def __init__(self, direction):
        self._left = PREFACE_BYTES if direction == "up" else 0
        self._header = b""

    def boundary_in(self, data):
        """Follows `data`; the offset in it behind the first frame that ends there, or None."""
        found = None
        at = 0
        while at < len(data):
            if self._left > 0:
                taken = min(self._left, len(data) - at)
                self._left -= taken
            else:
                taken = min(FRAME_HEADER_BYTES - len(self._header), len(data) - at)
                self._header += data[at:at + taken]
                if len(self._header) == FRAME_HEADER_BYTES:
                    self._left = int.from_bytes(self._header[:3], "big")
                    self._header = b""
            at += taken
            if found is None and self.at_boundary():
                found = at
        return found

    def at_boundary(self):
        return self._left == 0 and not self._header


class Connection:
    """One client and the service behind it."""

    def __init__(self, proxy, client, server):
        self.proxy = proxy
        self.client = client
        self.server = server
        self.damaged = False  # lost or gained bytes
        self.forgotten = False  # says nothing any more, for good
        self._lock = threading.Lock()
        self._open = 2
        for direction, source, sink in (("up", client, server), ("down", server, client)):
            threading.Thread(target=self._pump, args=(direction, source, sink), daemon=True).start()

    def end(self, how="reset"):
        """Both sides see the end: a reset, or the orderly one."""
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                if how == "reset":
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    side.close()
                else:
                    side.shutdown(socket.SHUT_RDWR)

    def _pump(self, direction, source, sink):
        pump = Pump(self, direction, sink)
        try:
            while pump.step(source):
                pass
        except (OSError, ValueError):  # Closed beside us.
            self.end("close")
        with self._lock:
            self._open -= 1
            last = self._open == 0
        if last:
            for side in (self.client, self.server):
                with contextlib.suppress(OSError):
                    side.close()
            self.proxy.forget(self)


class Pump:
    """One direction of a connection."""

    def __init__(self, connection, direction, sink):
        self.connection = connection
        self.proxy = connection.proxy
        self.direction = direction
        self.sink = sink
        self.frames = Frames(direction)
        self.generation = -1
        self.budget = 0  # bytes until the cut

    def step(self, source):
        """Moves what is there. False at the end of the stream."""
        if self._mode() == "garbage" and self.frames.at_boundary():
            self._inject()
        if not select.select([source], [], [], LOOK_S)[0]:
            return True
        mode = self._mode()
        if mode == "stall" and not self.connection.forgotten:
            self.proxy.count("stall", self.direction)
            self.proxy.wait_while("stall")
            return True  # What waits is read in the mode that holds then.
        data = source.recv(1 if mode == "trickle" else 65536)
        vanishes = self.proxy.cuts(self.direction) and self._damages("half-open")
        if vanishes or self.connection.forgotten:
            return bool(data)  # The end vanishes, too, until somebody notices.
        if not data:
            with contextlib.suppress(OSError):
                self.sink.shutdown(socket.SHUT_WR)
            return False
        return self._forward(mode, data)

    def _damages(self, kind):
        return self.proxy.damage(self.connection, kind, self.direction)

    def _mode(self):
        mode, generation, reach = self.proxy.state()
        if generation != self.generation:
            self.generation = generation
            self.budget = self.proxy.draw(0, reach)
        return mode

    def _inject(self):
        if not self._damages("garbage"):
            return
        self.sink.sendall(self.proxy.random_bytes())
        self.proxy.wait_while("garbage", at_most_s=0.2)

    def _forward(self, mode, data):
        if mode == "latency":
            self.proxy.count("latency", self.direction)
            time.sleep(self.proxy.draw(20, 300) / 1000)
        if mode == "trickle":
            self.proxy.count("trickle", self.direction)
            self.proxy.wait_while("trickle", at_most_s=1)
        if mode == "cut" and self.proxy.cuts(self.direction):
            if len(data) > self.budget and self._damages("cut"):
                self.sink.sendall(data[:self.budget])
                self.connection.end(self.proxy.choose(("reset", "close")))
                return False
            self.budget -= len(data)
        boundary = self.frames.boundary_in(data)
        if mode == "garbage" and boundary is not None:
            self.sink.sendall(data[:boundary])
            self._inject()
            data = data[boundary:]
        self.sink.sendall(data)
        self.proxy.count("pass", self.direction, len(data))
        return True


class LinkProxy:
    def __init__(self, target_port, seed):
        self.target_port = target_port
        self.counts = collections.Counter()
        self._random = random.Random(seed)
        self._condition = threading.Condition()
        self._mode = "pass"
        self._direction = "up"
        self._reach = 0
        self._generation = 0
        self._closed = False
        self._connections = set()
        self.last_connected_at = None  # monotonic
        # Bound and never listening: the port stays ours while nobody listens.
        self._holder = self._bound(0)
        self.port = self._holder.getsockname()[1]
        self._listener = None
        self._listen()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    # --- What tests do.

    def set(self, mode, direction="up", reach=4000):
        """`direction` is that of a cut or a half-open link; a cut comes within `reach` bytes."""
        with self._condition:
            self._mode, self._direction, self._reach = mode, direction, reach
            self._generation += 1
            self._condition.notify_all()
            ended = [connection for connection in self._connections
                     if mode == "refuse" or connection.damaged and not connection.forgotten]
            self.counts["refuse"] += mode == "refuse"
        if mode == "refuse":
            self._unlisten()
        else:
            self._listen()
        for connection in ended:
            connection.end("reset")

    def heal(self):
        self.set("pass")

    def forget_connections(self):
        """Those that live go silent for good in both directions: a router that lost its table."""
        with self._condition:
            for connection in self._connections:
                connection.forgotten = True
            return len(self._connections)

    def living(self):
        with self._condition:
            return len(self._connections)

    def close(self):
        with self._condition:
            self._closed = True
            self._mode = "pass"
            self._generation += 1
            self._condition.notify_all()
            living = list(self._connections)
        self._unlisten()
        self._holder.close()
        for connection in living:
            connection.end("close")

    # --- What pumps ask.

    def state(self):
        with self._condition:
            return self._mode, self._generation, self._reach

    def damage(self, connection, kind, direction):
        """True, and counted, if this mode still holds: whoever ends it resets the connection."""
        with self._condition:
            if self._mode != kind:
                return False
            connection.damaged = True
            self.counts[f"{kind} {direction}"] += 1
            return True

    def cuts(self, direction):
        with self._condition:
            return self._direction == direction

    def draw(self, low, high):
        with self._condition:
            return self._random.randint(low, max(low, high))

    def choose(self, among):
        with self._condition:
            return self._random.choice(among)

    def random_bytes(self):
        with self._condition:
            return self._random.randbytes(self._random.randint(1, 64))

    def count(self, kind, direction, amount=1):
        with self._condition:
            self.counts[f"{kind} {direction}"] += amount

    def wait_while(self, mode, at_most_s=None):
        """Returns as soon as another mode holds."""
        with self._condition:
            generation = self._generation
            self._condition.wait_for(
                lambda: self._closed or self._mode != mode or self._generation != generation,
                timeout=at_most_s)

    def forget(self, connection):
        with self._condition:
            self._connections.discard(connection)

    # --- Listening.

    @staticmethod
    def _bound(port):
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        return bound

    def _listen(self):
        if self._listener is not None or self._closed:
            return
        self._listener = self._bound(self.port)
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _unlisten(self):
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._condition:
                self._connections.add(Connection(self, client, server))
                self.last_connected_at = time.monotonic()
