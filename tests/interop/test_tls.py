"""Python's `ssl` and `openssl s_client` against a `tls` listener."""

import socket
import ssl
import subprocess
import unittest

from support import TIMEOUT, SocketPeer, TestCase, message


class Tls(TestCase):
    def setUp(self):
        self.trusted = self.certificate()
        self.server = self.start("tls://127.0.0.1:0", options=self.trusted.options)

    def peer(self, version=None):
        return self.enterContext(SocketPeer(self.server.port(), self.trusted.context(version)))

    def test_both_versions_converse(self):
        old = self.peer(ssl.TLSVersion.TLSv1_2)
        new = self.peer(ssl.TLSVersion.TLSv1_3)
        self.assertEqual(old.socket.version(), "TLSv1.2")
        self.assertEqual(new.socket.version(), "TLSv1.3")
        self.assert_conversation(old, new)

    def test_a_client_that_trusts_another_certificate_is_not_fooled(self):
        other = self.certificate()
        with self.assertRaises(ssl.SSLCertVerificationError):
            SocketPeer(self.server.port(), other.context())
        self.assert_conversation(self.peer(), self.peer())

    def test_invalid_bytes_instead_of_a_handshake_do_no_harm(self):
        with socket.create_connection(("127.0.0.1", self.server.port()), TIMEOUT) as rubbish:
            rubbish.sendall(b"\x16\x03\x01\xff\xff" + b"rubbish" * 1000)
            try:
                while rubbish.recv(4096):
                    pass
            except ConnectionResetError:
                pass
        self.assert_conversation(self.peer(), self.peer())

    def test_openssl_client_in_tls_1_2(self):
        self.openssl_client("-tls1_2")

    def test_openssl_client_in_tls_1_3(self):
        self.openssl_client("-tls1_3")

    def openssl_client(self, version):
        client = subprocess.Popen(
            [
                *["openssl", "s_client", version, "-quiet", "-verify_return_error"],
                *["-connect", f"127.0.0.1:{self.server.port()}"],
                *["-CAfile", self.trusted.cert, "-verify_hostname", "localhost"],
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with client:
            try:
                greeting = client.stdout.read(20)
                self.assertEqual(greeting[:2] + greeting[18:], b"\x12\0\0\0")
                own_id = greeting[2:18]
                peer = self.peer()
                client.stdin.write(message(peer.id, 1, b"hello"))
                client.stdin.flush()
                self.assertEqual(peer.receive(), (own_id, 1, b"hello"))
                peer.send(own_id, 2, b"yourself")
                answer = message(peer.id, 2, b"yourself")
                self.assertEqual(client.stdout.read(len(answer)), answer)
            finally:
                client.kill()


class RsaCertificate(TestCase):
    def test_it_serves_both_versions(self):
        certificate = self.certificate(("rsa:2048",))
        server = self.start("tls://127.0.0.1:0", options=certificate.options)
        versions = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
        self.assert_conversation(
            *[
                self.enterContext(SocketPeer(server.port(), certificate.context(version)))
                for version in versions
            ]
        )


if __name__ == "__main__":
    unittest.main()
