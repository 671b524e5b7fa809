"""All four transports, and plain HTTP, on one port."""

import http.client
import unittest

from support import TIMEOUT, SocketPeer, TestCase, WebSocketPeer


class Auto(TestCase):
    def test_one_port_serves_every_transport(self):
        certificate = self.certificate()
        # A client that is slow to speak over HTTP is taken for one that waits for its greeting.
        options = [*certificate.options, "--auto-silence", "2s"]
        port = self.start("auto://127.0.0.1:0", options=options).port()
        http_only = certificate.context()
        http_only.set_alpn_protocols(["http/1.1"])
        peers = [
            SocketPeer(port),
            SocketPeer(port, certificate.context()),
            WebSocketPeer(port),
            WebSocketPeer(port, certificate.context()),
            WebSocketPeer(port, http_only),
        ]
        for peer in peers:
            self.enterContext(peer)
        for one, other in zip(peers, peers[1:] + peers[:1]):
            self.assert_conversation(one, other)

        for browser in [
            http.client.HTTPConnection("localhost", port, timeout=TIMEOUT),
            http.client.HTTPSConnection(
                "localhost", port, timeout=TIMEOUT, context=certificate.context()
            ),
        ]:
            browser.request("GET", "/healthz")
            self.assertEqual(browser.getresponse().status, 200)
            browser.close()


if __name__ == "__main__":
    unittest.main()
