"""websockify, a generic bridge from WebSocket to TCP, in front of the server."""

import socket
import subprocess
import sys
import time
import unittest

from support import TIMEOUT, SocketPeer, TestCase, WebSocketPeer


class Bridge(TestCase):
    def test_a_browser_behind_it_converses_with_a_tcp_client(self):
        server = self.start("tcp://127.0.0.1:0")
        port = self.start_bridge(server.port())
        browser = self.enterContext(WebSocketPeer(port, path="/"))
        self.assert_conversation(browser, self.enterContext(SocketPeer(server.port())))

    def test_a_browser_behind_it_converses_with_one_at_the_server(self):
        server = self.start("tcp://127.0.0.1:0", "ws://127.0.0.1:0")
        port = self.start_bridge(server.port(0))
        browser = self.enterContext(WebSocketPeer(port, path="/"))
        self.assert_conversation(browser, self.enterContext(WebSocketPeer(server.port(1))))

    def start_bridge(self, target):
        """Starts a bridge to a port, and returns the port of the bridge."""
        # The bridge cannot pick a port, and does not tell when it listens.
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        bridge = subprocess.Popen(
            [sys.executable, "-m", "websockify", f"127.0.0.1:{port}", f"127.0.0.1:{target}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(bridge.wait)
        self.addCleanup(bridge.terminate)
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), TIMEOUT).close()
                return port
            except ConnectionRefusedError:
                self.assertIsNone(bridge.poll(), "the bridge ended")
                self.assertLess(time.monotonic(), deadline, "the bridge does not listen")
                time.sleep(0.02)


if __name__ == "__main__":
    unittest.main()
