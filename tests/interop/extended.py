"""A client with the extension over TCP, with the standard library, from PROTOCOL.md alone."""

import socket
import struct

TIMEOUT = 10
NIL = bytes(16)
CONTROL = 0xFFFF

# Bits of `wants` and `granted`.
VERDICTS, PEERS, RESUME, RENEW = 0x01, 0x02, 0x04, 0x20

# Kinds of control frames.
HELLO, SYNC, WATCH, UNWATCH, RENEW_ID, BYE = 0x01, 0x02, 0x03, 0x04, 0x05, 0x08
WELCOME, DROPPED, HANDLED, PEER, RENEWED, TOKEN, CLOSING = (
    0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x8A
)

# Outcomes of a frame that are not a reason of DROPPED.
PENDING, FORWARDED, NEVER_ARRIVED, UNKNOWN = "pending", "forwarded", "never arrived", "unknown"
# Outcome of a frame that may be one of those that a summary counts.
MAYBE_DROPPED = 0

HERE, AWAY, GONE = 1, 2, 3


def frame(payload):
    """Returns the frame that carries a payload."""
    return struct.pack("<H", len(payload)) + payload


def fields(data):
    """Returns the values of the fields in the bytes, by tag."""
    found = {}
    while data:
        tag, length = struct.unpack_from("<BH", data)
        assert len(data) >= 3 + length and tag not in found, f"fields are {data.hex()}"
        found[tag] = data[3 : 3 + length]
        data = data[3 + length :]
    return found


def entries(layout, data):
    """Returns the whole entries of a list. It skips a last one that is cut short."""
    size = struct.calcsize(layout)
    return list(struct.iter_unpack(layout, data[: len(data) // size * size]))


class Client:
    """A client that can lose its connection and resume its id.

    `outcomes` has, by the number of a frame, a reason of DROPPED or one of the words above.
    `messages` has what peers sent, `states` the last state and the lost messages by peer.
    """

    def __init__(self, port, wants=VERDICTS | PEERS | RESUME | RENEW):
        self.port, self.wants = port, wants
        self.id, self.token, self.resumed, self.refusal = None, None, False, None
        self.outcomes, self.messages, self.states = {}, [], {}
        self.granted, self.closing, self.next_number, self.seen = None, None, 1, 0
        self.connect()

    def connect(self):
        """Dials and says HELLO, with the resume token if there is one. Waits for WELCOME."""
        self.buffer = b""
        self.socket = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        former = self.next_number
        body = struct.pack("<B4sBI", HELLO, b"wad2", 2, self.wants)
        if self.token:
            tags = [(1, self.token), (2, struct.pack("<Q", former))]
            tags.append((4, struct.pack("<Q", self.seen)))
            for tag, value in tags:
                body += struct.pack("<BH", tag, len(value)) + value
        self.socket.sendall(frame(NIL + struct.pack("<H", CONTROL) + body))
        greeting = self.take_payload()
        assert len(greeting) == 18 and greeting[16:] == b"\0\0", f"greeting is {greeting.hex()}"
        self.id = greeting[:16]
        while self.receive() != WELCOME:
            pass
        if self.resumed:
            # The first HANDLED is about the frames of the former connections.
            complete, upto = self.wait_for(HANDLED)
            for number in [n for n, what in self.outcomes.items() if what == PENDING]:
                self.outcomes[number] = NEVER_ARRIVED if complete else UNKNOWN
            assert upto < former, f"HANDLED up to {upto}, but only {former - 1} were sent"

    def leave(self):
        """Says that this client will not come back, and closes."""
        self.control(BYE)
        self.socket.close()

    def write(self, payload):
        """Sends a frame and returns its number."""
        number, self.next_number = self.next_number, self.next_number + 1
        self.outcomes[number] = PENDING
        self.socket.sendall(frame(payload))
        return number

    def send(self, recipient, topic, body):
        return self.write(recipient + struct.pack("<H", topic) + body)

    def control(self, kind, data=b""):
        return self.send(NIL, CONTROL, bytes([kind]) + data)

    def sync(self):
        """Asks what became of all frames, and waits for the answer. Returns its `complete`."""
        number = self.control(SYNC, struct.pack("<Q", self.seen))
        complete, upto = self.wait_for(HANDLED)
        assert upto >= number - 1, f"HANDLED up to {upto}, SYNC was frame {number}"
        return complete

    def watch(self, *peers):
        """Returns the state of each peer, as the server answers it."""
        for peer in peers:
            self.states.pop(peer, None)
        self.control(WATCH, b"".join(peers))
        while not all(peer in self.states for peer in peers):
            self.receive()
        return [self.states[peer][0] for peer in peers]

    def renew(self):
        """Asks for a new id, and returns whether it came."""
        before = self.id
        self.control(RENEW_ID)
        self.wait_for(RENEWED)
        return self.id != before

    def wait_for(self, kind):
        """Handles frames until a control frame of a kind came. Returns its (flag, number)."""
        while self.receive() != kind:
            pass
        return self.last

    def next_message(self):
        """Returns the next message: sender, topic, body."""
        while not self.messages:
            self.receive()
        return self.messages.pop(0)

    def receive(self):
        """Handles the next frame. Returns the kind of a control frame, or None."""
        payload = self.take_payload()
        sender, topic, body = payload[:16], payload[16:18], payload[18:]
        if sender != NIL or topic != struct.pack("<H", CONTROL):
            self.messages.append((sender, struct.unpack("<H", topic)[0], body))
            return None
        kind, data = body[0], body[1:]
        self.last = None
        if kind == WELCOME:
            version, flags, self.granted, self.id, _ = struct.unpack_from("<BBI16sH", data)
            assert version == 2 and self.granted & ~self.wants == 0
            found = fields(data[24:])
            self.resumed, self.refusal = bool(flags & 1), found.get(2, b"\0")[0]
            self.token = found.get(1)
        elif kind == DROPPED:
            for entry in entries("<QIIBBH16s", data):
                self.handle_dropped(*entry)
        elif kind == HANDLED:
            upto, flags = struct.unpack_from("<QB", data)
            self.seen, self.last = upto, (bool(flags & 1), upto)
            for number, what in self.outcomes.items():
                if number <= upto and what == PENDING:
                    self.outcomes[number] = FORWARDED if flags & 1 else UNKNOWN
        elif kind == PEER:
            for peer, state, lost in entries("<16sBI", data):
                self.states[peer] = state, lost + self.states.get(peer, (0, 0))[1]
        elif kind == RENEWED:
            self.id = data[:16]
            self.token = fields(data[16:]).get(1, self.token)
        elif kind == TOKEN:
            self.token = data
        elif kind == CLOSING:
            self.closing = struct.unpack_from("<HQ", data)
            if self.closing[0] == 4010:
                self.token = None
        return kind

    def handle_dropped(self, first, span, count, reason, _, topic, recipient):
        exact = count == span
        assert exact or (reason, topic, recipient) == (0, 0, NIL), "a summary names one frame"
        for number in range(first, first + span):
            told = reason if exact else MAYBE_DROPPED
            # After a resume the server repeats what it does not know to be seen.
            assert self.outcomes[number] in (PENDING, told), f"frame {number} was handled"
            self.outcomes[number] = told

    def take_payload(self):
        (length,) = struct.unpack("<H", self.take(2))
        return self.take(length)

    def take(self, count):
        while len(self.buffer) < count:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError
            self.buffer += more
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken
