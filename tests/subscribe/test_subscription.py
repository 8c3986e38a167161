"""A subscription over a logdir: complete before it answers, then following, whatever happens to the log."""

import logging
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published import Logs, calibration, eventually, threshold, tombstone

from streameval import subscribe
from streameval.errors import ConfigError, ConfigValueError, TopicError, TransportError
from streameval.subscribe.in_force import Threshold
from streameval.subscribe.log import Entry
from streameval.subscribe.subscription import Subscription

QUICK = {"every": 0.01, "timeout": 10.0}


def now(current, segment="*"):
    """The threshold in force, as a number."""
    return current.threshold("fraud", version="3", segment=segment, default=-1.0).value


def test_all_that_is_published_is_in_force_when_the_subscription_is_made(logs):
    first, other = threshold(0.3), threshold(0.2, segment="country=Côte d'Ivoire")
    logs.thresholds(first, other, threshold(0.4, sequence=1))
    logs.calibrations(calibration([0.0, 1.0], [0.0, 0.5]))
    with subscribe.thresholds(logs.origin) as current:
        found = current.threshold("fraud", version="3")
        assert (found.value, found.record.reason, found.source) == (0.4, "gain", "whole")
        assert now(current, "country=Côte d'Ivoire") == 0.2
        assert current.calibrate("fraud", 0.5, version="3") == 0.25
        assert current.ready
        assert current.healthy
        assert current.problem is None
        assert 0 <= current.age < 10
        assert 0 <= found.received_age < 10
        assert found.age > 1e7


def test_what_comes_later_is_followed_and_told(logs):
    changes = []
    logs.thresholds(threshold(0.3))
    with subscribe.thresholds(logs.origin, on_change=changes.append, **QUICK) as current:
        logs.thresholds(threshold(0.4, sequence=1))
        eventually(lambda: now(current) == 0.4)
        logs.calibrations(calibration([0.0, 1.0], [0.0, 0.5]))
        eventually(lambda: current.calibrate("fraud", 1.0, version="3") == 0.5)
        eventually(lambda: len(changes) == 2)
    moved, mapped = changes
    assert (moved.cell, moved.before.value, moved.after.value) == (("fraud", "3", "*"), 0.3, 0.4)
    assert (mapped.before, mapped.after.method) == (None, "isotonic")


def test_a_log_that_is_not_there_yet_is_empty_and_is_followed_once_it_is(logs):
    with subscribe.thresholds(logs.origin, **QUICK) as current:
        assert current.healthy
        assert now(current) == -1.0
        logs.thresholds(threshold(0.3))
        eventually(lambda: now(current) == 0.3)


def test_a_torn_last_line_is_not_yet_a_record(logs):
    _, line = threshold(0.3)
    logs.append("thresholds", line[:100], end=b"")
    with subscribe.thresholds(logs.origin, **QUICK) as current:
        looked = time.monotonic()
        eventually(lambda: current.age < time.monotonic() - looked)  # it looked at the torn line again
        assert now(current) == -1.0
        logs.append("thresholds", line[100:])
        eventually(lambda: now(current) == 0.3)


def test_a_tombstone_withdraws_a_record(logs):
    changes = []
    whole, own = threshold(0.3), threshold(0.2, segment="country=DE")
    logs.thresholds(whole, own)
    with subscribe.thresholds(logs.origin, on_change=changes.append, **QUICK) as current:
        logs.append("thresholds", tombstone(own[0]))
        eventually(lambda: now(current, "country=DE") == 0.3)
        logs.append("thresholds", tombstone(whole[0]))
        eventually(lambda: now(current) == -1.0)
        eventually(lambda: len(changes) == 2)
        assert [(change.cell.segment, change.after) for change in changes] == [("country=DE", None), ("*", None)]
    with subscribe.thresholds(logs.origin) as current:
        assert current.view.held() == []


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"not json",
        b"\xff",
        b"{}",
        b'{"subject":"fraud/3/*","data":{"refused":"by the broker","bytes":60}}',
        b'{"subject":"only-one-part","sequence":0,"data":null}',
        calibration([0.0, 1.0], [0.0, 1.0])[1],
        threshold(0.9)[1].replace(b'"threshold":0.9', b'"threshold":"high"'),
        threshold(0.9)[1].replace(b'"subject":"fraud/3/*"', b'"subject":"fraud/4/*"'),
    ],
)
@pytest.mark.parametrize("when", ["before", "while", "again"])
def test_a_record_that_cannot_be_read_is_logged_and_leaves_what_is_in_force(logs, caplog, line, when):
    logs.thresholds(threshold(0.3))
    if when == "before":
        logs.append("thresholds", line)
        logs.thresholds(threshold(0.4, sequence=1))
    with subscribe.thresholds(logs.origin, **QUICK) as current:
        if when == "again":  # the log is lost and comes back with the record
            kept = logs.file("thresholds").read_bytes()
            logs.file("thresholds").unlink()
            eventually(lambda: not current.healthy)
            logs.append("thresholds", kept + line)
            eventually(lambda: current.healthy)
            assert now(current) == 0.3
        elif when == "while":
            logs.append("thresholds", line)
        if when != "before":
            logs.thresholds(threshold(0.4, sequence=1))
        eventually(lambda: now(current) == 0.4)
        assert current.healthy
    told = [record.getMessage() for record in caplog.records if "record_unreadable" in record.getMessage()]
    assert any("line 2" in message for message in told)


def test_a_callback_that_fails_is_logged_and_stops_nothing(logs, caplog):
    told = []

    def fail(change):
        told.append(change)
        raise RuntimeError("the service's own mistake")

    with subscribe.thresholds(logs.origin, on_change=fail, **QUICK) as current:
        for number in range(3):
            logs.thresholds(threshold(0.1 * number, sequence=number))
            eventually(lambda number=number: len(told) == number + 1)
        assert current.healthy
        assert now(current) == pytest.approx(0.2)
    assert sum("callback_failed" in record.getMessage() for record in caplog.records) == 3


def test_a_callback_sees_its_change_in_force_and_may_close_the_subscription(logs):
    seen = []

    def take(change):
        seen.append(now(current) == change.after.value)
        current.close()

    current = subscribe.thresholds(logs.origin, on_change=take, **QUICK)
    logs.thresholds(threshold(0.3))
    eventually(lambda: not current._thread.is_alive())
    assert seen == [True]
    assert now(current) == 0.3


@pytest.mark.parametrize("loss", ["removed", "emptied", "exchanged"])
def test_a_log_that_is_lost_is_told_and_what_was_read_stays_in_force_until_it_is_back(logs, caplog, loss):
    caplog.set_level(logging.WARNING, "streameval.subscribe")
    logs.thresholds(threshold(0.3))
    with subscribe.thresholds(logs.origin, **QUICK) as current:
        file = logs.file("thresholds")
        kept = file.read_bytes()
        if loss == "removed":
            file.unlink()
            eventually(lambda: "removed" in (current.problem or ""))
            eventually(lambda: "gone" in current.problem)
            assert not current.healthy
            assert now(current) == 0.3
        elif loss == "emptied":
            file.write_bytes(kept[:20])
            eventually(lambda: "was cut" in (current.problem or ""))
            eventually(lambda: "is empty" in current.problem)
            assert now(current) == 0.3
        file.unlink(missing_ok=True)
        logs.thresholds(threshold(0.6, sequence=9), threshold(0.7, sequence=10))
        eventually(lambda: now(current) == 0.7)
        eventually(lambda: current.healthy)
        assert current.problem is None
    names = [record.getMessage().split(":")[0] for record in caplog.records]
    assert names == ["subscription_lost", "subscription_restored"]


class Unreadable:
    """A log that fails as told, until it is mended; then it has one threshold."""

    def __init__(self, error):
        self.error = error
        self.loads = 0

    def load(self):
        self.loads += 1
        if self.error is not None:
            raise self.error
        yield Entry(Threshold, *threshold(0.3), "log/0, offset 0")

    def news(self):
        if self.error is not None:
            raise self.error
        return iter(())

    def outdated(self):
        return False

    def close(self):
        pass


FAILURES = [TopicError("no permission", where="topic t", cure="grant it"), OSError(5, "broken"), RuntimeError("odd")]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_logs_that_cannot_be_read_in_time_are_an_error_that_says_why(failure):
    current = Subscription(Unreadable(failure), every=0.01)
    eventually(lambda: current.problem is not None)
    with pytest.raises(TransportError, match=str(failure.args[-1])) as told:
        current.wait(0.05)
    assert 'unready="default"' in str(told.value)
    current.close()


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_failure_that_ends_is_lived_through_with_what_was_read(failure):
    log = Unreadable(failure)
    with Subscription(log, every=0.01) as current:
        eventually(lambda: current.problem is not None)
        assert not current.ready
        assert now(current) == -1.0
        log.error = None
        current.wait(10)
        assert now(current) == 0.3
        log.error = failure
        eventually(lambda: not current.healthy)
        assert now(current) == 0.3
        log.error = None
        eventually(lambda: current.healthy)


def test_a_configuration_that_can_never_work_is_told_at_once():
    refused = ConfigValueError("the environment variable of a secret is not set", where="PASSWORD")
    log = Unreadable(refused)
    current = Subscription(log, every=0.01)
    begin = time.monotonic()
    with pytest.raises(ConfigError, match="PASSWORD"):
        current.wait(30)
    assert time.monotonic() - begin < 10
    assert log.loads == 1


def test_defaults_serve_until_the_logs_can_be_read_where_that_was_chosen(logs):
    logs.file("thresholds").mkdir(parents=True)  # a directory where the log should be: cannot be read
    with pytest.raises(TransportError, match=r"not read to their end within 0\.1 s"):
        subscribe.thresholds(logs.origin, timeout=0.1, every=0.01)
    with subscribe.thresholds(logs.origin, timeout=0.1, unready="default", every=0.01) as current:
        assert now(current) == -1.0
        assert not current.healthy
        assert current.age is None
        logs.file("thresholds").rmdir()
        logs.thresholds(threshold(0.3))
        eventually(lambda: now(current) == 0.3)
        assert current.healthy


def test_a_subscription_whose_thread_is_gone_is_not_healthy_for_long(logs, monkeypatch):
    logs.thresholds(threshold(0.3))
    current = subscribe.thresholds(logs.origin, **QUICK)
    current.close()
    assert current.healthy
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not current.healthy
    assert now(current) == 0.3


def test_closing_leaves_no_thread_and_no_open_file(logs):
    logs.thresholds(threshold(0.3))
    before = threading.active_count()
    for _ in range(20):
        subscribe.thresholds(logs.origin, **QUICK).close()
    assert threading.active_count() == before


def test_a_pair_written_together_is_never_seen_torn_through_one_view(logs):
    """Many readers, one follower: each view is one that the log had after some line."""
    logs.thresholds(threshold(0.0), threshold(0.0, segment="s=1"))
    stop, wrong = threading.Event(), []

    def ask(current):
        while not stop.is_set():
            view = current.view
            whole, own = now(view), now(view, "s=1")
            if not 0 <= whole - own < 0.015:  # the whole's line comes first
                wrong.append((whole, own))

    with subscribe.thresholds(logs.origin, every=0.001, timeout=10) as current:
        readers = [threading.Thread(target=ask, args=(current,)) for _ in range(2)]
        for reader in readers:
            reader.start()
        for step in range(1, 100):
            logs.thresholds(threshold(step / 100, sequence=step), threshold(step / 100, segment="s=1", sequence=step))
        eventually(lambda: now(current, "s=1") == 0.99)
        stop.set()
        for reader in readers:
            reader.join()
    assert not wrong


STEPS = st.lists(
    st.tuples(st.sampled_from(["*", "s=1", "s=2"]), st.none() | st.sampled_from([0.1, 0.5, 0.9]), st.booleans()),
    max_size=12,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_following_ends_where_a_fresh_reading_does_and_tells_each_difference(tmp_path_factory, steps):
    """Law: the changes told, applied one by one, give the view; and that is the view of a later subscriber."""
    logs = Logs(tmp_path_factory.mktemp("law"))
    told = {}

    def take(change):
        if change.after is None:
            del told[change.cell]
        else:
            told[change.cell] = change.after

    with subscribe.thresholds(logs.origin, on_change=take, every=0.001, timeout=10) as current:
        for sequence, (segment, number, wait) in enumerate(steps):
            key, line = threshold(number or 0.0, segment=segment, sequence=sequence)
            logs.append("thresholds", tombstone(key) if number is None else line)
            if wait:
                time.sleep(0.003)
        with subscribe.thresholds(logs.origin) as fresh:
            expected = {cell: made.record_id for cell, made in fresh.view.thresholds.by_cell.items()}
        eventually(
            lambda: (
                {cell: made.record_id for cell, made in current.view.thresholds.by_cell.items()} == expected
                and {cell: made.record_id for cell, made in dict(told).items()} == expected
            )
        )
