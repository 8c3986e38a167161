"""Logs in a directory: lines are events, files grow, and damage is never passed over in silence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.errors import FencedError, InvariantError, StateMismatchError, TopicError
from streameval.transport import logdir
from streameval.transport.logdir import LogDir
from streameval.transport.protocol import CommitRecord, Outbox

PLACE = ("events", 0)


def record(n: int, worker: str = "w") -> CommitRecord:
    return CommitRecord(
        worker=worker, n=n, lineage="1", incarnation="i", T=None, positions={}, topic_ids={}, digest=f"{n:032x}"
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "events" / "0.jsonl"
    path.parent.mkdir()
    return path


def opened(log: Path, position: int = 0, hints: dict | None = None) -> LogDir:
    transport = LogDir(log.parent.parent)
    transport.assign({PLACE: position}, hints)
    return transport


def rest(transport: LogDir, step: int = 1000) -> list[bytes | None]:
    values: list[bytes | None] = []
    while (batch := transport.read(*PLACE, step)) is not None:
        values.extend(batch.values)
    return values


def test_lines_are_events_and_their_numbers_offsets(log: Path) -> None:
    log.write_bytes(b"a\n\n  \r\nb\r\nc\rd\ntorn")
    batch = opened(log).read(*PLACE, 10)
    assert batch is not None
    assert batch.values == [b"a", b"", b"  ", b"b", b"c\rd"]
    assert batch.offsets.tolist() == [0, 1, 2, 3, 4]
    assert batch.timestamps is None


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")), max_size=30),
    block=st.integers(1, 64),
    data=st.data(),
)
def test_any_block_size_cut_growth_and_reopening_reads_the_same_events(tmp_path_factory, lines, block, data) -> None:
    log = tmp_path_factory.mktemp("growing") / "events" / "0.jsonl"
    log.parent.mkdir()
    text = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    read: list[bytes | None] = []
    before = logdir.BLOCK
    logdir.BLOCK = block
    try:
        transport = opened(log)
        for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            with log.open("ab") as file:
                file.write(text[begin:end])
            while (batch := transport.read(*PLACE, data.draw(st.integers(1, 7)))) is not None:
                assert batch.offsets.tolist() == list(range(len(read), len(read) + len(batch)))
                read.extend(batch.values)
                assert transport.position(PLACE) == len(read)
                if data.draw(st.booleans()):
                    hints = transport.hints() if data.draw(st.booleans()) else None
                    transport.close()
                    transport = opened(log, len(read), hints)
            assert transport.caught_up(PLACE)
            assert transport.bounds(*PLACE) == (0, len(read)) == LogDir(log.parent.parent).bounds(*PLACE)
    finally:
        logdir.BLOCK = before
    assert read == lines


def test_a_torn_line_waits_for_its_newline_and_may_be_taken_back(log: Path) -> None:
    log.write_bytes(b"a\nto")
    transport = opened(log)
    assert rest(transport) == [b"a"]
    assert transport.caught_up(PLACE)
    with log.open("ab") as file:
        file.write(b"rn")
    assert rest(transport) == []
    os.truncate(log, 2)
    assert rest(transport) == []
    with log.open("ab") as file:
        file.write(b"new\n")
    assert not transport.caught_up(PLACE)
    assert rest(transport) == [b"new"]


def test_a_line_longer_than_the_limit_is_cut_and_the_next_one_whole(log: Path, monkeypatch) -> None:
    monkeypatch.setattr(logdir, "LINE_LIMIT", 1000)
    monkeypatch.setattr(logdir, "BLOCK", 64)
    log.write_bytes(b"a\n" + b"x" * 5000 + b"\nb\n" + b"y" * 3000)
    transport = opened(log)
    assert rest(transport) == [b"a", b"x" * 1000, b"b"]
    assert transport.bounds(*PLACE).end == 3
    assert rest(opened(log, 2)) == [b"b"]
    with log.open("ab") as file:
        file.write(b"\nc\n")
    assert rest(transport) == [b"y" * 1000, b"c"]


@pytest.mark.parametrize("hint", [[2, 4], [2, 3], [9, 4], [0, 0], [2, 10**9], "nonsense", None, [1, -5], [True]])
def test_a_wrong_hint_costs_time_and_nothing_else(log: Path, hint: object) -> None:
    log.write_bytes(b"0\n1\n2\n3\n")
    assert rest(opened(log, 3, {"events/0": hint})) == [b"3"]


def test_topics_and_partitions_may_come_late(tmp_path: Path) -> None:
    transport = LogDir(tmp_path / "none")
    assert transport.partitions(["events"]) == {"events": []}
    assert transport.topic_ids(["events"]) == {}
    transport.assign({PLACE: 0})
    assert transport.read(*PLACE, 5) is None
    assert transport.caught_up(PLACE)
    folder = tmp_path / "none" / "events"
    folder.mkdir(parents=True)
    for name in ("0.jsonl", "10.jsonl", "2.jsonl", "01.jsonl", "x.jsonl", "3.json"):
        (folder / name).write_bytes(b"a\n")
    assert transport.partitions(["events"]) == {"events": [0, 2, 10]}
    assert [batch.values for batch in transport.poll(10, 0)] == [[b"a"]]
    transport.assign({PLACE: 1, ("events", 2): 0})
    assert [batch.partition for batch in transport.poll(10, 0)] == [2]


def test_a_copied_directory_is_the_same_log(log: Path, tmp_path: Path) -> None:
    log.write_bytes(b"a\nb\n")
    first = opened(log, 1)
    shutil.copytree(log.parent, tmp_path / "copy" / "events")
    assert LogDir(tmp_path / "copy").topic_ids(["events"]) == first.topic_ids(["events"]) != {}
    assert rest(first) == [b"b"]
    shutil.copy(log, log.with_name("copied"))
    log.with_name("copied").replace(log)
    with log.open("ab") as file:
        file.write(b"c\n")
    assert rest(first) == [b"c"]


@pytest.mark.parametrize("damage", ["cut", "removed", "anew"])
def test_a_damaged_log_is_an_error_with_a_cure(log: Path, damage: str) -> None:
    log.write_bytes(b"a\nb\n")
    transport = opened(log)
    assert len(rest(transport)) == 2
    if damage == "cut":
        os.truncate(log, 2)
    else:
        log.unlink()
    if damage == "anew":
        log.write_bytes(b"other\nlines\nand more\n")
    said = {"cut": "cut to 2 bytes", "removed": "removed", "anew": "made anew"}[damage]
    with pytest.raises(TopicError, match=rf"events.*{said}.*--fresh"):
        transport.read(*PLACE, 1)


@pytest.mark.parametrize("position", [3, 100])
def test_a_position_beyond_the_log_is_an_error(log: Path, position: int) -> None:
    log.write_bytes(b"a\nb\ntorn")
    with pytest.raises(TopicError, match=f"only 2 events, but {position} were read"):
        opened(log, position)


def test_a_log_is_read_whole_while_another_process_writes_it(log: Path) -> None:
    log.write_bytes(b"")
    program = (
        "import sys, time\n"
        "with open(sys.argv[1], 'ab', buffering=0) as file:\n"
        "    for i in range(2000):\n"
        "        line = b'%d:' % i + b'x' * (i % 97) + b'\\n'\n"
        "        file.write(line[:7]); file.write(line[7:])\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(log)])
    transport = opened(log)
    values: list[bytes | None] = []
    deadline = time.monotonic() + 30
    while len(values) < 2000 and time.monotonic() < deadline:
        for batch in transport.poll(100, 0.2):
            values.extend(batch.values)
    assert writer.wait() == 0
    assert values == [b"%d:" % i + b"x" * (i % 97) for i in range(2000)]


def test_wake_ends_a_waiting_poll(log: Path) -> None:
    transport = opened(log)
    threading.Timer(0.05, transport.wake).start()
    begun = time.monotonic()
    assert transport.poll(1, 20) == []
    assert time.monotonic() - begun < 10


# -- outputs -----------------------------------------------------------------------------------------------------------


def box(*values: bytes, topic: str = "out") -> Outbox:
    outbox = Outbox()
    for sequence, value in enumerate(values):
        outbox.add(topic, "k", value, sequence)
    return outbox


@pytest.mark.parametrize("there", range(16))
def test_a_delivery_that_stopped_at_any_byte_is_completed_and_not_repeated(tmp_path: Path, there: int) -> None:
    transport = LogDir(tmp_path)
    transport.fence("w")
    transport.deliver(box(b'{"a":0}'), record(1), {})
    before = transport.ends(["out"])
    expected = b'{"a":1}\n{"b":2}\n'
    with (tmp_path / "out" / "0.jsonl").open("ab") as file:
        file.write(expected[:there])
    for _ in range(2):
        transport.deliver(box(b'{"a":1}', b'{"b":2}'), record(2), before)
        assert (tmp_path / "out" / "0.jsonl").read_bytes() == b'{"a":0}\n' + expected
    assert transport.commit_record("w") == record(2)
    assert len((tmp_path / "commits" / "0.jsonl").read_bytes().splitlines()) == 2


def test_a_torn_line_is_left_out_of_the_ends_and_completed_by_the_record_that_it_began(tmp_path: Path) -> None:
    transport = LogDir(tmp_path)
    transport.fence("w")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0.jsonl").write_bytes(b'{"subject":"k","sequence":0}\n{"sub')
    before = transport.ends(["out"])
    assert before == {"out": 29, "commits": 0}
    assert [r.sequence for r in transport.published(["out"])] == [0]
    transport.deliver(Outbox(), record(1), before)
    transport.deliver(box(b'{"subject":"k","sequence":1}'), record(2), transport.ends(["out"]))
    assert [r.sequence for r in transport.published(["out"])] == [0, 1]


def test_foreign_bytes_in_an_output_are_an_error_and_are_left_alone(tmp_path: Path) -> None:
    transport = LogDir(tmp_path)
    transport.fence("w")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0.jsonl").write_bytes(b"mine\n")
    for before, outbox in (({}, box(b"yours")), ({"out": 9}, box(b"yours"))):
        with pytest.raises(StateMismatchError, match=r"out/0\.jsonl"):
            transport.deliver(outbox, record(1), before)
    assert (tmp_path / "out" / "0.jsonl").read_bytes() == b"mine\n"
    assert transport.commit_record("w") is None


def test_one_process_publishes_into_a_directory_at_a_time(tmp_path: Path) -> None:
    first, second = LogDir(tmp_path), LogDir(tmp_path)
    first.fence("w")
    with pytest.raises(FencedError, match=f"process {os.getpid()} already publishes"):
        second.fence("v")
    with pytest.raises(InvariantError, match="deliver before fence"):
        second.deliver(Outbox(), record(1), {})
    first.close()
    second.fence("v")


@pytest.mark.parametrize("count", [1, 2, 700])
def test_the_last_whole_commit_record_of_a_worker_is_found_however_far_back(tmp_path: Path, count: int) -> None:
    transport = LogDir(tmp_path)
    transport.fence("w")
    transport.deliver(Outbox(), record(7, "w"), transport.ends([]))
    for n in range(count):
        transport.deliver(Outbox(), record(n, "other" + "x" * 500), transport.ends([]))
    with (tmp_path / "commits" / "0.jsonl").open("ab") as file:
        file.write(record(8).encode()[:-5])
    assert transport.commit_record("w") == record(7)
    assert transport.commit_record("nobody") is None


def test_a_line_that_is_no_commit_record_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "commits").mkdir()
    (tmp_path / "commits" / "0.jsonl").write_bytes(b'{"worker":1}\n')
    with pytest.raises(StateMismatchError, match="not a commit record"):
        LogDir(tmp_path).commit_record("w")
