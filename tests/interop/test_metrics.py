"""The text of `/metrics`, as Prometheus's own parser reads it."""

import unittest
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from support import TIMEOUT, SocketPeer, TestCase


class Metrics(TestCase):
    def scrape(self, address):
        with urllib.request.urlopen(address + "/metrics", timeout=TIMEOUT) as answer:
            text = answer.read().decode()
        return {family.name: family for family in text_string_to_metric_families(text)}

    def test_they_are_valid_and_complete(self):
        server = self.start("tcp://127.0.0.1:0", options=["--admin", "127.0.0.1:0"])
        address = server.process.stdout.readline().rpartition(" ")[2].strip()
        peer = self.enterContext(SocketPeer(server.port()))
        for _ in range(10):
            peer.send(peer.id, 1, b"to myself")
            peer.receive()
        families = self.scrape(address)
        for name, family in families.items():
            self.assertTrue(name.startswith("waddell_"), name)
            self.assertIn(family.type, ("counter", "gauge", "histogram"), name)
            self.assertTrue(family.documentation.endswith("."), name)
            self.assertTrue(family.samples, name)
            names = [(sample.name, *sorted(sample.labels.items())) for sample in family.samples]
            self.assertEqual(len(names), len(set(names)), name)
        [frames] = families["waddell_frames_in"].samples
        self.assertEqual(frames.value, 10)
        [build] = families["waddell_build_info"].samples
        self.assertEqual((build.value, list(build.labels)), (1, ["version"]))
        self.assert_cumulative(families["waddell_forward_seconds"])
        self.assert_cumulative(families["waddell_event_loop_lag_seconds"])

    def assert_cumulative(self, family):
        series = {}
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key != "le"}
            series.setdefault(str(labels), []).append(sample)
        for samples in series.values():
            buckets = [sample for sample in samples if sample.name.endswith("_bucket")]
            bounds = [float(sample.labels["le"]) for sample in buckets]
            counts = [sample.value for sample in buckets]
            self.assertEqual(bounds, sorted(set(bounds)))
            self.assertEqual(bounds[-1], float("inf"))
            self.assertEqual(counts, sorted(counts))
            [count] = [sample.value for sample in samples if sample.name.endswith("_count")]
            self.assertEqual(counts[-1], count)
            self.assertTrue(any(sample.name.endswith("_sum") for sample in samples))


if __name__ == "__main__":
    unittest.main()
