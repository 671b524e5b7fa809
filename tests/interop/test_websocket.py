"""The `websockets` package against `ws` and `wss` listeners."""

import http.client
import os
import threading
import unittest

from websockets.exceptions import ConnectionClosed, InvalidStatus

from support import TIMEOUT, SocketPeer, TestCase, WebSocketPeer, message


class WebSocket(TestCase):
    def setUp(self):
        self.server = self.start("ws://127.0.0.1:0", "tcp://127.0.0.1:0")

    def peer(self, **options):
        return self.enterContext(WebSocketPeer(self.server.port(0), **options))

    def tcp_peer(self):
        return self.enterContext(SocketPeer(self.server.port(1)))

    def assert_closed_with(self, code, peer):
        with self.assertRaises(ConnectionClosed) as closed:
            while True:
                peer.receive()
        self.assertEqual(closed.exception.rcvd.code, code)

    def test_two_browsers_converse(self):
        self.assert_conversation(self.peer(), self.peer())

    def test_a_browser_and_a_tcp_client_converse(self):
        self.assert_conversation(self.peer(), self.tcp_peer())

    def test_the_subprotocol_is_echoed_if_offered_and_not_required(self):
        for offered, chosen in [
            (None, None),
            (["waddell"], "waddell"),
            (["chat", "waddell"], "waddell"),
        ]:
            peer = self.peer(subprotocols=offered)
            self.assertEqual(peer.websocket.subprotocol, chosen)

    def test_compression_is_not_negotiated(self):
        peer = self.peer(compression="deflate")
        self.assertEqual(peer.websocket.protocol.extensions, [])
        self.assertNotIn("Sec-WebSocket-Extensions", peer.websocket.response.headers)

    def test_a_text_message_is_refused_with_1003(self):
        peer = self.peer()
        peer.websocket.send("text")
        self.assert_closed_with(1003, peer)

    def test_a_message_over_128_kib_is_refused_with_1009(self):
        peer = self.peer()
        peer.websocket.send(bytes(128 * 1024 + 1))
        self.assert_closed_with(1009, peer)

    def test_fragments_over_128_kib_are_refused_with_1009(self):
        peer = self.peer()
        try:
            peer.websocket.send(bytes(1024) for _ in range(129))
        except ConnectionClosed:
            pass  # the server need not read all of them
        self.assert_closed_with(1009, peer)

    def test_a_message_of_128_kib_is_taken(self):
        peer = self.peer()
        bodies = [os.urandom(65_517), os.urandom(65_515)]
        data = b"".join(message(peer.id, 1, body) for body in bodies)
        self.assertEqual(len(data), 128 * 1024)
        peer.write(data)
        self.assertEqual([peer.receive()[2] for _ in bodies], bodies)

    def test_a_frame_may_be_spread_over_messages_and_fragments(self):
        peer, other = self.peer(), self.tcp_peer()
        data = message(other.id, 1, b"one") + message(other.id, 1, b"two")
        for byte in data:
            peer.write(bytes([byte]))
        peer.websocket.send(bytes([byte]) for byte in data)
        self.assertEqual([other.receive()[2] for _ in range(4)], [b"one", b"two"] * 2)

    def test_the_server_ends_every_message_on_a_frame_boundary(self):
        peer, other = self.peer(), self.tcp_peer()
        for size in [0, 1, 1000, 65_517] * 20:
            other.send(peer.id, 1, bytes(size))
        count = 0
        while count < 80:
            data = peer.websocket.recv(timeout=TIMEOUT)
            while data:
                length = 2 + int.from_bytes(data[:2], "little")
                self.assertLessEqual(length, len(data))
                data = data[length:]
                count += 1

    def test_a_ping_is_answered_with_its_pong(self):
        answered = self.peer().websocket.ping(b"are you there?")
        self.assertIsInstance(answered, threading.Event)
        self.assertTrue(answered.wait(TIMEOUT))

    def test_a_close_is_answered_and_the_id_is_gone(self):
        peer, other = self.peer(), self.tcp_peer()
        peer.websocket.close(1000)
        self.assertEqual(peer.websocket.protocol.close_rcvd.code, 1000)
        other.send(peer.id, 1, b"gone")
        other.send(other.id, 1, b"still here")
        self.assertEqual(other.receive()[2], b"still here")

    def test_other_paths_are_not_found(self):
        with self.assertRaises(InvalidStatus) as refused:
            WebSocketPeer(self.server.port(0), path="/elsewhere")
        self.assertEqual(refused.exception.response.status_code, 404)

    def test_plain_http_is_answered(self):
        for path, status in [("/healthz", 200), ("/elsewhere", 404)]:
            browser = http.client.HTTPConnection("127.0.0.1", self.server.port(0), TIMEOUT)
            browser.request("GET", path)
            response = browser.getresponse()
            self.assertEqual(response.status, status)
            response.read()
            browser.close()


class WebSocketOverTls(TestCase):
    def test_it_converses_with_tls_and_plain_peers(self):
        certificate = self.certificate()
        server = self.start(
            *["wss://127.0.0.1:0", "tls://127.0.0.1:0", "tcp://127.0.0.1:0"],
            options=certificate.options,
        )
        browser = self.enterContext(WebSocketPeer(server.port(0), certificate.context()))
        secure = self.enterContext(SocketPeer(server.port(1), certificate.context()))
        plain = self.enterContext(SocketPeer(server.port(2)))
        self.assert_conversation(browser, secure)
        self.assert_conversation(browser, plain)
        self.assert_conversation(secure, plain)


if __name__ == "__main__":
    unittest.main()
