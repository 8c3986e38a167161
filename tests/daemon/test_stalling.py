"""Lag without progress is said, once, and makes the worker unhealthy; what only looks like it is not."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from worker import Worker, small_batches

from streameval.config import Config
from streameval.daemon import Daemon, daemon
from streameval.daemon.stalling import HIDDEN, Place, Stalls
from streameval.errors import ConnectionFailedError
from streameval.events.columns import Batch
from streameval.serve.probes import liveness
from streameval.testing import streams
from streameval.testing.memory import MemoryBroker, MemoryTransport
from streameval.transport import protocol

PLACE = ("predictions", 0)
AFTER, EVERY = 120.0, 5.0


def nothing(_: protocol.Place) -> None:
    return None


def looked(looks: list[tuple[float, Place]], hidden: Callable[[float], str | None] = lambda _: None) -> list:
    """(moment, stalled) of every change that these looks find."""
    stalls, found = Stalls(AFTER, EVERY), []
    for now, place in looks:
        found += [(now, change.stalled) for change in stalls.look(now, {PLACE: place}, lambda _, now=now: hidden(now))]
    return found


def every(seconds: float, end: float, make: Callable[[int], Place]) -> list[tuple[float, Place]]:
    return [(index * seconds, make(index)) for index in range(int(end / seconds) + 1)]


def test_a_partition_that_is_asked_and_gives_nothing_stalls_once_and_moves_once() -> None:
    still = every(5, 300, lambda i: Place(7, 20, dry=i))
    assert looked(still) == [(120.0, True)]
    assert looked([*still, (305.0, Place(9, 20, 61)), (310.0, Place(20, 20, 61))]) == [(120.0, True), (305.0, False)]
    assert looked([*still, (305.0, Place(20, 20, 60))]) == [(120.0, True), (305.0, False)]


def test_what_moves_is_caught_up_or_is_not_asked_for_never_stalls() -> None:
    for make in (
        lambda i: Place(i, 10_000, dry=i),  # slowly
        lambda i: Place(i // 20, 10_000, dry=i),  # an event in 100 seconds
        lambda _: Place(7, 10_000, dry=3),  # others are read first, or max_rows holds it back
        lambda i: Place(7, 7, dry=i),  # nothing is there
        lambda i: Place(9, 7, dry=i),  # the end is an old one
        lambda i: Place(7, 7 + (i % 20 > 0), dry=i),  # it is caught up with in between
    ):
        assert looked(every(5, 3_600, make)) == []


def test_time_in_which_nobody_asked_does_not_count() -> None:
    # A commit hung for an hour, or the process was suspended: the first look behind it proves nothing.
    looks = [(0.0, Place(7, 9, 1)), (5.0, Place(7, 9, 2)), (3_600.0, Place(7, 9, 3)), (3_605.0, Place(8, 9, 3))]
    assert looked(looks) == []


def test_an_open_transaction_is_waited_for_ten_times_as_long_and_told_with_its_reason() -> None:
    stalls = Stalls(AFTER, EVERY)
    told = []
    for now, place in every(5, 1_500, lambda i: Place(7, 9, i)):
        told += [(now, change) for change in stalls.look(now, {PLACE: place}, lambda _: "a transaction")]
    [(moment, change)] = told
    assert (moment, change.why, change.events) == (HIDDEN * AFTER, "a transaction", 2)
    assert stalls.now[PLACE].seconds == 1_500


def test_transactions_of_minutes_one_after_the_other_are_no_stall() -> None:
    # Each is open for five minutes; what it hid comes some seconds after its end.
    def make(index: int) -> Place:
        return Place((index * 5 + 295) // 300, 1_000, dry=index)

    assert looked(every(5, 7_200, make), lambda now: "open" if now % 300 > 20 else None) == []


def test_partitions_are_judged_each_by_its_own_and_forgotten_when_they_go() -> None:
    stalls = Stalls(AFTER, EVERY)
    other = ("outcomes", 3)
    told = []
    for now in range(0, 300, 5):
        places = {PLACE: Place(7, 9, now), other: Place(now, 1_000, now)}
        told += stalls.look(now, places, nothing)
    assert [change.place for change in told] == [PLACE]
    assert list(stalls.now) == [PLACE]
    assert stalls.look(305.0, {other: Place(305, 1_000, 305)}, nothing) == []
    assert not stalls.now


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 60), st.booleans(), st.booleans(), st.booleans()), max_size=120))
def test_a_stall_is_told_only_after_its_time_of_asking_in_vain(steps: list[tuple[float, bool, bool, bool]]) -> None:
    stalls, now, position, dry, vain, stalled = Stalls(AFTER, EVERY), 0.0, 0, 0, 0.0, False
    for passed, moves, asks, hides in steps:
        now += passed
        vain = 0.0 if moves else vain + passed * asks
        position += moves
        dry += asks
        changes = stalls.look(now, {PLACE: Place(position, 1_000, dry)}, lambda _, hides=hides: "x" if hides else None)
        for change in changes:
            assert change.stalled != stalled, "each once"
            stalled = change.stalled
            assert (vain >= AFTER - 1e-6) if stalled else moves
        assert stalled == bool(stalls.now)


# -- the loop ---------------------------------------------------------------------------------------------------------


class Deaf(MemoryTransport):
    """Logs of which some partitions give nothing from an offset on, though they end behind it."""

    def __init__(self, broker: MemoryBroker, *, cured: bool = False, **options: object) -> None:
        super().__init__(broker, **options)
        self.deaf: dict[protocol.Place, int] = {}
        self.why: str | None = None
        self.away = False
        self.reopened = 0
        self.cured = cured

    def read(self, topic: str, partition: int, max_events: int) -> Batch | None:
        left = self.deaf.get((topic, partition), 1 << 60) - self.position((topic, partition))
        return super().read(topic, partition, min(max_events, left)) if left > 0 else None

    def bounds(self, topic: str, partition: int) -> protocol.Bounds:
        if self.away:
            raise ConnectionFailedError("no broker answers", where="kafka:9092", cure="start it")
        return super().bounds(topic, partition)

    def hidden(self, place: protocol.Place) -> str | None:
        return self.why

    def reopen(self) -> None:
        self.reopened += 1
        if self.cured:
            self.deaf.clear()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "LOOK", 0.02)
    monkeypatch.setattr(daemon, "WAIT", 0.005)


def broker() -> MemoryBroker:
    made = MemoryBroker()
    for place, values in streams.stream(1, events=400).logs().items():
        made.append(*place, values)
    return made


def config(tmp_path: Path, **changes: object) -> Config:
    changes = {"serve": {"stalled_after": "200ms"}, "idle_after": "100ms", **changes}
    return Config.model_validate(streams.settings("", tmp_path / "state", **changes))


@contextlib.contextmanager
def running(made: Daemon, **options: bool) -> Iterator[list[dict]]:
    """The lines of its log, while it runs in a thread of its own; stopped at the end."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            made.run(**options)
        except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
            failed.append(error)

    with structlog.testing.capture_logs() as told, small_batches():
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield told
        finally:
            made.stop()
            thread.join(20)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def events(told: list[dict], *names: str) -> list[str]:
    return [line["event"] for line in told if line["event"] in names]


def healthy(made: Daemon) -> bool:
    return liveness(made.health, time.monotonic(), 60.0).good


@pytest.mark.parametrize("until_end", [False, True])
def test_a_partition_that_gives_nothing_is_one_line_and_unhealthy_until_it_moves(
    tmp_path: Path, until_end: bool
) -> None:
    transport = Deaf(broker())
    transport.deaf[PLACE] = 50
    vitals: list = []
    made = Daemon(config(tmp_path), transport=transport, on_vitals=vitals.append)
    with running(made, until_end=until_end) as told:
        until(lambda: not healthy(made))
        reason = liveness(made.health, time.monotonic(), 60.0).reason
        assert reason.startswith("predictions/0 does not move: ")
        assert "events to read, none came for" in reason
        until(lambda: vitals[-1].topics["predictions"].stalled == 1)
        time.sleep(0.4)
        [line] = [line for line in told if line["event"] == "reading_stalled"]
        assert (line["topic"], line["partition"], line["position"], line["log_level"]) == (
            "predictions",
            0,
            50,
            "warning",
        )
        assert line["events"] > 0
        assert transport.reopened == 1
        del transport.deaf[PLACE]
        until(lambda: healthy(made) and events(told, "reading_flows"))
        until(lambda: transport.caught_up(PLACE))
        if until_end:
            until(lambda: events(told, "end_of_logs"))
    assert events(told, "reading_stalled", "reading_flows") == ["reading_stalled", "reading_flows"]


def test_what_reads_is_opened_anew_and_the_loop_goes_on_by_itself(tmp_path: Path) -> None:
    transport = Deaf(broker(), cured=True)
    transport.deaf[PLACE] = 50
    made = Daemon(config(tmp_path), transport=transport)
    with running(made) as told:
        until(lambda: healthy(made) and events(told, "reading_flows"))
        until(lambda: transport.caught_up(PLACE))
    assert transport.reopened == 1


def test_an_open_transaction_is_told_as_what_it_is_and_nothing_is_opened_anew(tmp_path: Path) -> None:
    transport = Deaf(broker())
    transport.deaf[PLACE] = 50
    transport.why = "a producer's open transaction hides all from offset 50 on"
    made = Daemon(config(tmp_path), transport=transport)
    with running(made) as told:
        time.sleep(1.0)
        assert healthy(made), "ten times as long"
        until(lambda: not healthy(made))
        assert transport.why in liveness(made.health, time.monotonic(), 60.0).reason
    [line] = [line for line in told if line["event"] == "reading_stalled"]
    assert line["why"] == transport.why
    assert line["seconds"] >= 2
    assert transport.reopened == 0


def test_reading_that_max_rows_holds_back_is_paused_and_not_stalled(tmp_path: Path) -> None:
    made = Daemon(config(tmp_path, max_rows=100), transport=MemoryTransport(broker_without_outcomes()))
    with running(made) as told:
        until(lambda: events(told, "reading_paused"))
        time.sleep(0.8)
        assert healthy(made)
    assert events(told, "reading_stalled") == []


def broker_without_outcomes() -> MemoryBroker:
    made = broker()
    for place in made.values:
        if place[0] == "outcomes":
            made.values[place] = []
    return made


def test_while_nobody_says_where_the_logs_end_nothing_is_judged(tmp_path: Path) -> None:
    transport = Deaf(broker())
    transport.deaf[PLACE] = 50
    made = Daemon(config(tmp_path), transport=transport)
    with running(made) as told:
        until(lambda: events(told, "started"))
        transport.away = True
        time.sleep(0.8)
        assert healthy(made)
        assert events(told, "cluster_away", "reading_stalled").count("reading_stalled") == 0
        transport.away = False
        until(lambda: not healthy(made))


def test_a_last_line_that_is_not_finished_is_no_event_that_does_not_come(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    worker.feed(streams.stream(1, events=300))
    with (worker.logs / "predictions" / "0.jsonl").open("ab") as log:
        log.write(b'{"id": "half')
    made = Daemon(worker.config(serve={"stalled_after": "200ms"}))
    with running(made) as told:
        until(lambda: made.health.ready)
        time.sleep(0.8)
        assert healthy(made)
    assert events(told, "reading_stalled") == []


def test_a_rebuild_that_does_not_move_is_told_too(tmp_path: Path) -> None:
    logs, made = broker(), config(tmp_path, commit={"every": "1h", "outputs": 10, "state_every": "1ms"})
    with small_batches():
        Daemon(made, transport=MemoryTransport(logs)).run(until_end=True)
    shutil.rmtree(tmp_path / "state")
    transport = Deaf(logs)
    transport.deaf = dict.fromkeys(logs.values, 0)
    again = Daemon(made, transport=transport)
    with running(again, until_end=True) as told:
        until(lambda: not healthy(again))
        assert again.health.doing == "rebuilding the state"
        transport.deaf.clear()
        until(lambda: events(told, "end_of_logs"))
    assert "state_rebuilt" in events(told, "state_rebuilt")
    assert events(told, "reading_stalled")
