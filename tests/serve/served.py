"""A worker's page without a worker: a pulse to set, records to feed, and small ways to ask."""

import http.client
import json
import socket
import time

import msgspec

from streameval.serve.prometheus import About
from streameval.serve.serving import Serving
from streameval.serve.vitals import ModelVitals, TopicVitals, Vitals
from streameval.transport.protocol import Record


class Pulse:
    def __init__(self):
        self.turned, self.ready, self.doing = time.monotonic(), True, "reading"
        self.stalled = {}


VITALS = Vitals(
    wall=1_700_000_000.0,
    time=912_870_000_000,
    committed=1_699_999_998.0,
    heard=1_699_999_997.0,
    ready=True,
    predictions=42_624,
    outcomes=42_837,
    unusable={"segments": 7},
    max_rows=20_000_000,
    topics={
        "predictions": TopicVitals(42_624, 0, 912_870_060_000),
        "outcomes": TopicVitals(42_837, 12, 912_870_000_000, 2),
    },
    models={"price-up": ModelVitals(waiting=48, bytes=4096, taken=42_624, matched=42_412, duplicates_differing=3)},
    records={"metrics": 126, "drift": 5},
)


def numbered(pairs):
    """(topic, record) pairs as the daemon publishes them: numbered by key."""
    last = {}
    made = []
    for topic, record in pairs:
        name = (topic, record["subject"])
        last[name] = last.get(name, -1) + 1
        made.append(Record(topic, record["subject"], msgspec.json.encode(record), last[name]))
    return made


def serving(pulse=None, **options):
    return Serving("127.0.0.1", 0, About("0.1.0", "payments", "c0ffee"), pulse or Pulse(), **options)


def get(served, path, method="GET", headers=None, timeout=10):
    """(status, body, headers) of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=timeout)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def asked(served, path):
    return json.loads(get(served, path)[1])


def wait_for(what, seconds=15):
    """The first true answer of `what`."""
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def connected(served):
    return socket.create_connection(("127.0.0.1", served.port), timeout=10)
