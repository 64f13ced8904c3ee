"""What /metrics tells, and by how much each counter moved."""
import re

from support import free_port, request, wait_until


def with_ops(overrides=None):
    """The configuration with an operators' listener, and its port."""
    port = free_port()
    return {**(overrides or {}), "ops_listen": f"127.0.0.1:{port}"}, port


def series(name, **labels):
    """A series as /metrics spells it."""
    return name + ("{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "}" if labels else "")


class Meter:
    def __init__(self, port):
        self.port = port
        self.before = self.counters()

    def text(self):
        reply = request(self.port, "GET", "/metrics")
        assert reply.status == 200, reply
        return reply.body.decode()

    def samples(self):
        lines = [line for line in self.text().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def __getitem__(self, name):
        """A series with labels is there once something was counted; one without always is."""
        samples = self.samples()
        return samples.get(name, 0) if "{" in name else samples[name]

    def wait_for(self, name, value):
        wait_until(lambda: self[name] == value, f"{name} to be {value}")

    def counters(self):
        """What only happens by requests: no gauges, no buckets and sums, nothing of the store's."""
        counted = re.compile(r"(?!unstream_store_)\w+_(total|count)(\{|$)")
        return {name: value for name, value in self.samples().items() if counted.match(name)}

    def moved(self):
        """By how much, since this was last settled; without what stands still."""
        differences = {name: value - self.before.get(name, 0) for name, value in self.counters().items()}
        return {name: difference for name, difference in differences.items() if difference}

    def assert_moved(self, **expected):
        """Exactly these counters move, by so much: what a reply costs is counted when it is known to
        have arrived.  A name is a series without `unstream_`, `_total` and labels; several of its series
        are told apart by a dictionary."""
        want = {}
        for name, value in expected.items():
            full = name if name.startswith("gen_ai_") else f"unstream_{name}"
            if not isinstance(value, dict):
                value = {"": value}
            want.update({f"{full}_{'count' if full.endswith(('seconds', 'usage')) else 'total'}{labels}": number
                         for labels, number in value.items()})
        try:
            wait_until(lambda: self.moved() == want, "the counters to move", timeout_s=5)
        except AssertionError:
            pass
        assert self.moved() == want
        self.before = self.counters()
