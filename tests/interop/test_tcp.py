"""Plain sockets against a `tcp` listener."""

import os
import socket
import unittest
import uuid

from support import NIL, SocketPeer, TestCase, frame, message


class Tcp(TestCase):
    def setUp(self):
        self.server = self.start("tcp://127.0.0.1:0")

    def peer(self):
        return self.enterContext(SocketPeer(self.server.port()))

    def test_two_peers_converse(self):
        self.assert_conversation(self.peer(), self.peer())

    def test_ids_are_random_uuids_in_rfc_order(self):
        ids = [uuid.UUID(bytes=self.peer().id) for _ in range(20)]
        self.assertEqual(len(set(ids)), 20)
        for peer_id in ids:
            self.assertEqual((peer_id.version, peer_id.variant), (4, uuid.RFC_4122))

    def test_undeliverable_frames_are_ignored_and_the_connection_stays(self):
        peer = self.peer()
        for length in range(18):
            peer.write(frame(b"x" * length))
        peer.write(frame(b"k"))
        peer.send(NIL, 1, b"to the nil id")
        peer.send(uuid.uuid4().bytes, 1, b"to an unknown peer")
        peer.send(peer.id, 1, b"to myself")
        self.assertEqual(peer.receive(), (peer.id, 1, b"to myself"))

    def test_bytes_may_come_one_at_a_time(self):
        one, other = self.peer(), self.peer()
        one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in message(other.id, 7, b"slowly"):
            one.write(bytes([byte]))
        self.assertEqual(other.receive(), (one.id, 7, b"slowly"))

    def test_many_frames_in_one_write_arrive_in_order(self):
        one, other = self.peer(), self.peer()
        bodies = [os.urandom(n) for n in range(200)]
        one.write(b"".join(message(other.id, 1, body) for body in bodies))
        self.assertEqual([other.receive()[2] for _ in bodies], bodies)

    def test_what_was_sent_before_a_half_close_is_delivered_and_answered(self):
        one, other = self.peer(), self.peer()
        one.send(other.id, 1, b"last words")
        one.send(one.id, 1, b"echo")
        one.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(other.receive(), (one.id, 1, b"last words"))
        self.assertEqual(one.receive(), (one.id, 1, b"echo"))
        self.assertRaises(EOFError, one.receive)

    def test_an_id_can_be_written_to_as_soon_as_its_peer_knows_it(self):
        one = self.peer()
        for number in range(200):
            # Two connections at a time, which the server puts on different threads.
            with SocketPeer(self.server.port()) as other, SocketPeer(self.server.port()) as third:
                one.send(third.id, number, b"at once")
                self.assertEqual(third.receive(), (one.id, number, b"at once"))
                third.send(other.id, number, b"at once")
                self.assertEqual(other.receive(), (third.id, number, b"at once"))

    def test_the_id_of_a_disconnected_peer_is_unknown(self):
        one, other = self.peer(), self.peer()
        one.close()
        other.send(one.id, 1, b"gone")
        other.send(other.id, 1, b"still here")
        self.assertEqual(other.receive(), (other.id, 1, b"still here"))


if __name__ == "__main__":
    unittest.main()
