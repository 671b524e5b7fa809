"""The server as a process: signals, exit codes and output."""

import signal
import socket
import subprocess
import unittest

from websockets.exceptions import ConnectionClosed

from support import PROGRAMS, TIMEOUT, SocketPeer, TestCase, WebSocketPeer


class Signals(TestCase):
    def test_sigterm_closes_websockets_with_1001_and_exits_with_0(self):
        self.assert_graceful(signal.SIGTERM)

    def test_sigint_does_the_same(self):
        self.assert_graceful(signal.SIGINT)

    def assert_graceful(self, number):
        server = self.start("ws://127.0.0.1:0", "tcp://127.0.0.1:0")
        browser = self.enterContext(WebSocketPeer(server.port(0)))
        plain = self.enterContext(SocketPeer(server.port(1)))
        self.assert_conversation(browser, plain)
        server.process.send_signal(number)
        with self.assertRaises(ConnectionClosed) as closed:
            browser.receive()
        self.assertEqual(closed.exception.rcvd.code, 1001)
        self.assertRaises(EOFError, plain.receive)
        self.assertEqual(server.process.wait(TIMEOUT), 0)
        self.assertEqual(server.process.stdout.read(), "")


class Flags(TestCase):
    def test_bad_ones_are_named_in_one_line_and_the_exit_code_is_2(self):
        for args, named in [
            (["--listen", "gopher://127.0.0.1:0"], "--listen"),
            (["--listen", "tcp://127.0.0.1:65536"], "--listen"),
            (["--listen", "127.0.0.1"], "--listen"),
            (["--listen", ""], "--listen"),
            (["--listen", "tls://127.0.0.1:0"], "--cert"),
            (["--listen", "tls://127.0.0.1:0", "--cert", "a.pem"], "--key"),
            (["--cert", "/no/such/cert.pem", "--key", "/no/such/key.pem"], "--cert"),
            (
                ["--listen", "tcp://127.0.0.1:0", "--cert", "/dev/null", "--key", "/dev/null"],
                "--cert",
            ),
            (["--drain-timeout", "soon"], "--drain-timeout"),
        ]:
            with self.subTest(args=args):
                result = run_server(*args)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertEqual(result.stdout, "")
                self.assertIn(named, result.stderr)
                self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)

    def test_unknown_ones_are_named_and_the_exit_code_is_2(self):
        result = run_server("--no-such-flag")
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertIn("--no-such-flag", result.stderr)

    def test_those_of_the_original_work_with_one_dash_and_two(self):
        certificate = self.certificate()
        for dash in ["-", "--"]:
            server = self.start(options=[f"{dash}addr", "127.0.0.1:0"])
            self.assertTrue(server.addresses[0].startswith("tcp://127.0.0.1:"))
            self.enterContext(SocketPeer(server.port()))
            files = [f"{dash}pkfile", certificate.key, f"{dash}certfile", certificate.cert]
            server = self.start(options=[f"{dash}addr", "127.0.0.1:0", *files])
            self.assertTrue(server.addresses[0].startswith("tls://127.0.0.1:"))
            self.enterContext(SocketPeer(server.port(), certificate.context()))

    def test_a_port_in_use_is_named_and_the_server_does_not_start(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
            result = run_server("--listen", "tcp://127.0.0.1:0", "--listen", url)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(url, result.stderr)
        self.assertNotIn("panicked", result.stderr)


def run_server(*args):
    """Runs a server that must not start, and waits for its end."""
    command = [PROGRAMS / "waddell-server", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)


if __name__ == "__main__":
    unittest.main()
