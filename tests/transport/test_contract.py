"""What every transport keeps, run over each of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from streameval.errors import TopicError
from streameval.testing.memory import MemoryBroker, MemoryTransport
from streameval.transport.logdir import LogDir
from streameval.transport.protocol import CommitRecord, Outbox, Record, Transport

A, B, EMPTY = ("events", 0), ("events", 1), ("other", 0)


@dataclass
class Bench:
    """A transport to open as often as wanted, and its logs to add to."""

    open: Callable[[], Transport]
    append: Callable[[str, int, list[bytes]], None]


@pytest.fixture(params=["memory", "logdir"])
def bench(request, tmp_path: Path) -> Iterator[Bench]:
    opened: list[Transport] = []

    def keep(transport: Transport) -> Transport:
        while opened:
            opened.pop().close()
        opened.append(transport)
        return transport

    if request.param == "memory":
        broker = MemoryBroker()
        yield Bench(lambda: keep(MemoryTransport(broker, seed=len(broker.values))), broker.append)
    else:

        def append(topic: str, partition: int, values: list[bytes]) -> None:
            (tmp_path / topic).mkdir(exist_ok=True)
            with (tmp_path / topic / f"{partition}.jsonl").open("ab") as file:
                file.write(b"".join(value + b"\n" for value in values))

        yield Bench(lambda: keep(LogDir(tmp_path)), append)
    keep(MemoryTransport(MemoryBroker()))


@pytest.fixture
def filled(bench: Bench) -> Bench:
    bench.append("events", 0, [b"a%d" % i for i in range(50)])
    bench.append("events", 1, [b"b%d" % i for i in range(20)])
    bench.append("other", 0, [])
    return bench


def record(n: int, **changes) -> CommitRecord:
    facts = {"worker": "w", "lineage": "1", "incarnation": "i", "T": n, "positions": {"events": {0: n, 1: 0}}}
    return CommitRecord(**{**facts, "n": n, "topic_ids": {}, "digest": f"{n:032x}", **changes})


def test_it_satisfies_the_protocol(bench: Bench) -> None:
    assert isinstance(bench.open(), Transport)


def test_partitions_are_found_also_those_that_come_later(filled: Bench) -> None:
    transport = filled.open()
    assert transport.partitions(["events", "other", "none"]) == {"events": [0, 1], "other": [0], "none": []}
    filled.append("none", 3, [b"x"])
    assert transport.partitions(["none"]) == {"none": [3]}
    assert transport.bounds("none", 3) == (0, 1)


def test_a_partition_is_read_in_order_whatever_the_cuts(filled: Bench) -> None:
    for step in (1, 3, 1000):
        transport = filled.open()
        transport.assign({A: 0, B: 7, EMPTY: 0})
        values = []
        while (batch := transport.read(*A, step)) is not None:
            assert len(batch) <= step
            assert batch.offsets.tolist() == list(range(len(values), len(values) + len(batch)))
            values.extend(batch.values)
            assert transport.position(A) == len(values)
        assert values == [b"a%d" % i for i in range(50)]
        assert transport.position(B) == 7
        assert transport.caught_up(A)
        assert not transport.caught_up(B)
        assert transport.caught_up(EMPTY)
        assert transport.read(*EMPTY, 5) is None


def test_poll_reads_every_partition_and_keeps_its_bound(filled: Bench) -> None:
    transport = filled.open()
    transport.assign({A: 0, B: 0, EMPTY: 0})
    found: dict[tuple[str, int], list] = {A: [], B: []}
    while batches := transport.poll(6, 0):
        assert sum(map(len, batches)) <= 6
        for batch in batches:
            found[batch.topic, batch.partition].extend(batch.values)
    assert found == {A: [b"a%d" % i for i in range(50)], B: [b"b%d" % i for i in range(20)]}


def test_a_paused_partition_is_passed_over_by_poll_only(filled: Bench) -> None:
    transport = filled.open()
    transport.assign({A: 0, B: 0})
    transport.pause({A})
    assert {batch.partition for _ in range(30) for batch in transport.poll(4, 0)} == {1}
    assert transport.read(*A, 1).values == [b"a0"]
    transport.resume({A})
    assert {batch.partition for _ in range(30) for batch in transport.poll(4, 0)} == {0}


def test_what_reads_may_be_opened_anew_at_any_time_and_nothing_is_hidden(filled: Bench) -> None:
    transport = filled.open()
    transport.assign({A: 3, B: 0})
    transport.pause({B})
    transport.read(*A, 5)
    at = transport.position(A)
    transport.reopen()
    assert (transport.position(A), transport.position(B)) == (at, 0)
    assert transport.read(*A, 1).values == [b"a%d" % at]
    assert {batch.partition for _ in range(30) for batch in transport.poll(4, 0)} <= {0}
    assert transport.hidden(A) is transport.hidden(B) is None
    transport.resume({B})
    assert transport.read(*B, 1).values == [b"b0"]


def test_a_new_assignment_leaves_the_others_where_they_are(filled: Bench) -> None:
    transport = filled.open()
    transport.assign({A: 10})
    transport.read(*A, 1)
    at = transport.position(A)
    transport.assign({A: at, B: 0})
    assert transport.read(*A, 1).values == [b"a%d" % at]
    assert transport.read(*B, 1).values == [b"b0"]


def test_a_position_beyond_the_end_is_refused(filled: Bench) -> None:
    with pytest.raises(TopicError):
        filled.open().assign({A: 51})


def test_hints_of_one_process_serve_the_next(filled: Bench) -> None:
    first = filled.open()
    first.assign({A: 0, B: 0})
    for _ in range(3):
        first.read(*A, 9)
    at, hints = first.position(A), first.hints()
    second = filled.open()
    second.assign({A: at, B: 0}, hints)
    assert second.read(*A, 1).values == [b"a%d" % at]


def test_identities_only_gain_keys_while_the_topics_live(filled: Bench) -> None:
    before = filled.open().topic_ids(["events", "other"])
    assert before
    filled.append("events", 0, [b"more"])
    filled.append("events", 2, [b"new"])
    after = filled.open().topic_ids(["events", "other"])
    assert before.items() <= after.items()


def test_a_wake_before_a_poll_lets_it_return_at_once(filled: Bench) -> None:
    transport = filled.open()
    transport.assign({EMPTY: 0})
    transport.wake()
    begun = time.monotonic()
    assert transport.poll(1, 30) == []
    assert time.monotonic() - begun < 10


def test_outputs_and_commit_record_come_out_as_they_went_in(bench: Bench) -> None:
    transport = bench.open()
    transport.fence("w")
    assert transport.commit_record("w") is None
    boxes = [Outbox(), Outbox()]
    boxes[0].add("drift", "m/1/*", b'{"subject":"m/1/*","sequence":0}', 0)
    boxes[0].add("thresholds", "m/1/*", b'{"subject":"m/1/*","sequence":0,"x":1}', 0)
    boxes[0].add("drift", "m/1/*", b'{"subject":"m/1/*","sequence":1}', 1)
    boxes[1].add("thresholds", "m/1/*", None, 1)
    boxes[1].add("clock", "", b'{"topic":"events","partition":0,"offset":3,"floor":9,"reason":"idle"}')
    marks = []
    for n, box in enumerate(boxes, 1):
        marks.append(transport.ends(["drift", "thresholds", "clock"]))
        for _ in range(2):
            transport.deliver(box, record(n), marks[-1])
        assert transport.commit_record("w") == record(n)
    other = bench.open()
    assert other.commit_record("w") == record(2)
    assert other.commit_record("v") is None
    assert list(other.published(["drift", "thresholds", "none"])) == [
        boxes[0].records[0],
        boxes[0].records[2],
        boxes[0].records[1],
        Record("thresholds", "m/1/*", None, 1),
    ]
    assert list(other.published(["drift", "thresholds"], marks[1])) == [Record("thresholds", "m/1/*", None, 1)]
    assert other.clock_marks() == [boxes[1].records[1].value]
    assert list(other.published(["drift"], other.ends(["drift"]))) == []


def test_commit_records_of_workers_do_not_mix(bench: Bench) -> None:
    transport = bench.open()
    for worker in ("w", "v"):
        transport.fence(worker)
        transport.deliver(Outbox(), record(1, worker=worker, T=None), transport.ends([]))
    assert transport.commit_record("w") == record(1, T=None)
    assert transport.commit_record("v") == record(1, worker="v", T=None)


def test_the_newest_core_of_a_state_comes_out_as_it_went_in_whatever_its_size(bench: Bench) -> None:
    transport = bench.open()
    for worker in ("w", "w/v"):
        transport.fence(worker)
        assert transport.core(worker) is None
    # Larger, then smaller, then left out, which keeps the last one.
    cores = [os.urandom(1_000), os.urandom(200_000), os.urandom(70_000), None]
    for n, core in enumerate(cores, 1):
        transport.deliver(Outbox(), record(n, worker="w/v"), transport.ends([]), core=core)
        newest = cores[min(n, 3) - 1]
        assert transport.core("w/v") == newest
        assert transport.commit_record("w/v") == record(n, worker="w/v")
    assert transport.core("w") is None
    assert bench.open().core("w/v") == cores[2]
