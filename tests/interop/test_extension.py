"""A client that knows PROTOCOL.md only: verdicts, notices of peers, resume, new ids."""

import os
import unittest
import uuid

from extended import AWAY, FORWARDED, GONE, HERE, NEVER_ARRIVED, PENDING, PEER, Client
from support import SocketPeer, TestCase


class Extension(TestCase):
    def setUp(self):
        self.server = self.start("tcp://127.0.0.1:0")

    def client(self, **options):
        client = Client(self.server.port(), **options)
        self.addCleanup(lambda: client.socket.close())
        return client

    def legacy_peer(self):
        return self.enterContext(SocketPeer(self.server.port()))

    def wait_for_state(self, client, peer_id, state):
        while client.states.get(peer_id, (None, 0))[0] != state:
            client.wait_for(PEER)

    def test_peers_with_and_without_the_extension_converse(self):
        one, other = self.client(), self.legacy_peer()
        one.send(other.id, 7, b"to 2015")
        self.assertEqual(other.receive(), (one.id, 7, b"to 2015"))
        other.send(one.id, 8, b"from 2015")
        self.assertEqual(one.next_message(), (other.id, 8, b"from 2015"))

    def test_the_fate_of_every_frame_is_told(self):
        client, other = self.client(), self.legacy_peer()
        expected = {}
        for _ in range(40):
            expected[client.send(other.id, 1, b"x")] = FORWARDED
            expected[client.send(uuid.uuid4().bytes, 2, b"x")] = 1
            expected[client.write(b"short")] = 6
            expected[client.send(bytes(16), 3, b"x")] = 7
            expected[client.write(b"k")] = FORWARDED
            if len(expected) % 50 == 0:
                self.assertTrue(client.sync())
        self.assertTrue(client.sync())
        self.assertEqual({n: client.outcomes[n] for n in expected}, expected)

    def test_verdicts_are_summarised_while_they_are_not_read(self):
        client = self.client()
        # Each has a recipient of its own, so each needs an entry of its own.
        numbers = [client.send(os.urandom(16), 1, b"") for _ in range(5_000)]
        client.sync()
        self.assertNotIn(FORWARDED, [client.outcomes[number] for number in numbers])
        self.assertNotIn(PENDING, [client.outcomes[number] for number in numbers])

    def test_a_peer_is_watched_until_it_is_gone(self):
        client, legacy, extended = self.client(), self.legacy_peer(), self.client()
        stranger = uuid.uuid4().bytes
        states = client.watch(legacy.id, extended.id, stranger)
        self.assertEqual(states, [HERE, HERE, GONE])
        legacy.close()
        self.wait_for_state(client, legacy.id, GONE)
        extended.leave()
        self.wait_for_state(client, extended.id, GONE)

    def test_a_peer_that_was_written_to_is_watched(self):
        client, other = self.client(), self.client()
        client.send(other.id, 1, b"hello")
        other.next_message()
        other.socket.close()
        self.wait_for_state(client, other.id, AWAY)
        away = client.send(other.id, 1, b"are you there?")
        self.assertTrue(client.sync())
        self.assertEqual(client.outcomes[away], 2)
        other.connect()
        self.wait_for_state(client, other.id, HERE)
        client.send(other.id, 1, b"welcome back")
        self.assertEqual(other.next_message(), (client.id, 1, b"welcome back"))

    def test_a_lost_connection_is_resumed_again_and_again(self):
        client, other = self.client(), self.legacy_peer()
        before, arriving = client.id, []
        for topic in range(20):
            sent = client.send(other.id, topic, b"before")
            dropped = client.send(uuid.uuid4().bytes, 1, b"")
            client.socket.close()
            client.connect()
            self.assertEqual((client.id, client.resumed), (before, True))
            # What was on its way may be lost, and the client is told which it was.
            self.assertIn(client.outcomes[sent], [FORWARDED, NEVER_ARRIVED])
            self.assertIn(client.outcomes[dropped], [1, NEVER_ARRIVED])
            arriving += [topic] if client.outcomes[sent] == FORWARDED else []
            self.assertTrue(client.sync())
            other.send(client.id, 9, b"still you")
            self.assertEqual(client.next_message(), (other.id, 9, b"still you"))
        client.send(other.id, 99, b"the end")
        self.assertEqual([other.receive()[1] for _ in [*arriving, 99]], [*arriving, 99])

    def test_a_connection_that_is_still_open_is_taken_over(self):
        client, other = self.client(), self.legacy_peer()
        old = client.socket
        self.addCleanup(old.close)
        numbers = [client.send(other.id, n, b"") for n in range(100)]
        client.connect()
        self.assertTrue(client.resumed)
        self.assertEqual([client.outcomes[n] for n in numbers], [FORWARDED] * 100)
        self.assertEqual([other.receive()[1] for _ in numbers], list(range(100)))
        new, buffer = client.socket, client.buffer
        client.socket, client.buffer, token = old, b"", client.token
        self.assertRaises(EOFError, lambda: [client.receive() for _ in range(10)])
        self.assertEqual(client.closing[0], 4010)
        client.socket, client.buffer, client.token = new, buffer, token
        other.send(client.id, 5, b"to the new one")
        self.assertEqual(client.next_message(), (other.id, 5, b"to the new one"))

    def test_a_token_of_another_server_is_refused_and_the_connection_is_good(self):
        client = self.client()
        client.token = os.urandom(len(client.token))
        before = client.id
        client.socket.close()
        client.connect()
        self.assertEqual((client.resumed, client.refusal), (False, 2))
        self.assertNotEqual(client.id, before)
        client.send(client.id, 1, b"echo")
        self.assertEqual(client.next_message(), (client.id, 1, b"echo"))

    def test_an_id_is_renewed_and_resumed(self):
        client, other, watcher = self.client(), self.legacy_peer(), self.client()
        before = client.id
        watcher.watch(before)
        client.send(other.id, 1, b"old")
        self.assertTrue(client.renew())
        client.send(other.id, 1, b"new")
        self.assertEqual(other.receive(), (before, 1, b"old"))
        self.assertEqual(other.receive(), (client.id, 1, b"new"))
        self.wait_for_state(watcher, before, GONE)
        renewed = client.id
        client.socket.close()
        client.connect()
        self.assertEqual((client.id, client.resumed), (renewed, True))

    def test_new_ids_come_five_at_once(self):
        client = self.client()
        renewed = [client.renew() for _ in range(20)]
        self.assertEqual(renewed[:5], [True] * 5)
        self.assertIn(False, renewed)

    def test_the_server_closes_with_the_last_number_that_it_handled(self):
        client = self.client()
        client.send(client.id, 1, b"echo")
        client.next_message()
        self.server.process.terminate()
        self.assertRaises(EOFError, lambda: [client.receive() for _ in range(10)])
        self.assertEqual(client.closing, (4000, 1))


class WithoutExtension(TestCase):
    def test_a_server_that_is_told_so_does_not_answer_hello(self):
        server = self.start("tcp://127.0.0.1:0", options=["--extension", "off"])
        with SocketPeer(server.port()) as peer:
            peer.send(bytes(16), 0xFFFF, b"\x01wad2\x02\x7b\0\0\0")
            peer.send(peer.id, 1, b"echo")
            self.assertEqual(peer.receive(), (peer.id, 1, b"echo"))


if __name__ == "__main__":
    unittest.main()
