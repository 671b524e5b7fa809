"""A server on free ports, and peers over sockets, TLS and WebSockets of other libraries."""

import os
import pathlib
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import unittest

from websockets.sync.client import connect

TIMEOUT = 10
NIL = bytes(16)
PROGRAMS = pathlib.Path(
    os.environ.get("WADDELL_PROGRAMS")
    or pathlib.Path(__file__).resolve().parents[2] / "target" / "debug"
)


def frame(payload):
    """Returns the frame that carries a payload."""
    return struct.pack("<H", len(payload)) + payload


def message(peer_id, topic, body):
    """Returns the frame that carries a message."""
    return frame(peer_id + struct.pack("<H", topic) + body)


class Server:
    """A server process, which ends with the `with` block."""

    def __init__(self, *urls, options=()):
        args = [PROGRAMS / "waddell-server"]
        for url in urls:
            args += ["--listen", url]
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            [*args, *options], stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        # One line for each listener. The lines end early if the server does.
        self.addresses = []
        for _ in urls or [None]:
            line = self.process.stdout.readline()
            prefix, _, address = line.rstrip("\n").rpartition(" ")
            if prefix != "listening on":
                failure = AssertionError(f"printed {line!r}; standard error:\n{self.stderr()}")
                self.close()
                raise failure
            self.addresses.append(address)

    def port(self, index=0):
        return int(self.addresses[index].rpartition(":")[2])

    def stderr(self):
        self.log.seek(0)
        return self.log.read()

    def stop(self, number=signal.SIGTERM):
        """Signals the server to stop, and returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT)

    def close(self):
        """Kills the process, unless it has ended."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Peer:
    """A peer on any transport: frames over a stream of bytes."""

    def __init__(self):
        self.buffer = b""
        payload = self.receive_payload()
        assert len(payload) == 18 and payload[16:] == b"\0\0", f"greeting is {payload.hex()}"
        self.id = payload[:16]

    def read(self):
        """Returns further bytes of the stream; none at its end."""
        raise NotImplementedError

    def write(self, data):
        raise NotImplementedError

    def take(self, count):
        while len(self.buffer) < count:
            more = self.read()
            if not more:
                raise EOFError
            self.buffer += more
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def receive_payload(self):
        (length,) = struct.unpack("<H", self.take(2))
        return self.take(length)

    def receive(self):
        """Returns the next message: sender, topic and body."""
        payload = self.receive_payload()
        return payload[:16], struct.unpack("<H", payload[16:18])[0], payload[18:]

    def send(self, peer_id, topic, body):
        self.write(message(peer_id, topic, body))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class SocketPeer(Peer):
    """A peer over TCP, or over TLS with the context `tls`."""

    def __init__(self, port, tls=None):
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        super().__init__()

    def read(self):
        return self.socket.recv(65536)

    def write(self, data):
        self.socket.sendall(data)

    def close(self):
        self.socket.close()


class WebSocketPeer(Peer):
    """A peer over WebSocket, with or without TLS."""

    def __init__(self, port, tls=None, path="/ws", **options):
        scheme = "wss" if tls else "ws"
        options.setdefault("max_size", None)
        self.websocket = connect(
            f"{scheme}://localhost:{port}{path}",
            sock=socket.create_connection(("127.0.0.1", port), TIMEOUT),
            ssl=tls,
            open_timeout=TIMEOUT,
            close_timeout=TIMEOUT,
            **options,
        )
        super().__init__()

    def read(self):
        data = self.websocket.recv(timeout=TIMEOUT)
        assert isinstance(data, bytes), f"text message {data!r}"
        return data

    def write(self, data):
        self.websocket.send(data)

    def close(self):
        self.websocket.close()


class Certificate:
    """A self-signed certificate for localhost, as files."""

    def __init__(self, key_type=("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")):
        self.folder = tempfile.TemporaryDirectory()
        self.cert = os.path.join(self.folder.name, "cert.pem")
        self.key = os.path.join(self.folder.name, "key.pem")
        openssl = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        openssl += ["-addext", "subjectAltName=DNS:localhost", "-newkey", *key_type]
        openssl += ["-keyout", self.key, "-out", self.cert]
        subprocess.run(openssl, check=True, capture_output=True, timeout=TIMEOUT)
        self.options = ["--cert", self.cert, "--key", self.key]

    def context(self, version=None):
        """Returns client settings that trust this certificate only, in one or any TLS version."""
        context = ssl.create_default_context(cafile=self.cert)
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    def close(self):
        self.folder.cleanup()


class TestCase(unittest.TestCase):
    def start(self, *urls, options=()):
        return self.enterContext(Server(*urls, options=options))

    def certificate(self, *args):
        certificate = Certificate(*args)
        self.addCleanup(certificate.close)
        return certificate

    def assert_conversation(self, one, other):
        """Checks that each peer receives small and large bodies from the other and itself."""
        for sender, recipient in [(one, other), (other, one), (one, one), (other, other)]:
            for size in [0, 5, 65_517]:
                body = os.urandom(size)
                sender.send(recipient.id, 0xBEEF, body)
                self.assertEqual(recipient.receive(), (sender.id, 0xBEEF, body))
