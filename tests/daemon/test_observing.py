"""What the loop says of itself: counts from its start, lags, commits; and that it says it while it works."""

import pytest
from worker import Worker, small_batches

from streameval.daemon import Daemon, observing
from streameval.daemon.observing import Observer
from streameval.testing import streams


@pytest.fixture
def worker(tmp_path):
    return Worker(tmp_path)


def seen(worker, **options):
    """The vitals of a run to the end of the logs, and its summary."""
    vitals = []
    with small_batches():
        summary = Daemon(worker.config(), on_vitals=vitals.append, **options).run(until_end=True)
    return vitals, summary


def test_the_last_vitals_say_what_the_summary_says(worker):
    worker.feed(streams.stream(1, events=800))
    vitals, summary = seen(worker)
    last = vitals[-1]
    assert (last.predictions, last.outcomes, last.waiting) == (summary.predictions, summary.outcomes, summary.waiting)
    assert last.records == summary.records
    assert last.commits.count == summary.commits
    assert last.lag == 0
    assert last.time == summary.time
    assert sum(topic.read for topic in last.topics.values()) >= summary.predictions + summary.outcomes
    joined = sum(m.matched - m.repeated - m.amended for m in last.models.values())
    assert joined == summary.matched


def test_fields_that_could_not_be_used_are_counted_in_vitals_and_summary(worker):
    stream = streams.stream(1, events=300)
    places = [n for n, delivery in enumerate(stream.deliveries) if b'"DE"' in delivery.value]
    for n in places:
        delivery = stream.deliveries[n]
        stream.deliveries[n] = delivery._replace(value=delivery.value.replace(b'"DE"', b'["DE"]'))
    vitals, summary = seen(worker.feed(stream))
    fraud = sum(b'"model": "fraud"' in stream.deliveries[n].value for n in places)
    assert vitals[-1].unusable == summary.unusable == {"segments": fraud}
    assert summary.rejected == 0


def test_the_first_vitals_know_what_is_to_be_read(worker):
    stream = streams.stream(1, events=800)
    worker.feed(stream)
    vitals, _ = seen(worker)
    assert vitals[0].lag == len(stream.deliveries) - sum(topic.read for topic in vitals[0].topics.values())


def test_counts_begin_anew_with_each_process(worker):
    stream = streams.stream(1, events=800)
    half = len(stream.deliveries) // 2
    first, _ = seen(worker.feed(stream, before=half))
    second, _ = seen(worker.feed(stream, after=half))
    for name in ("predictions", "outcomes"):
        assert 0 < getattr(second[-1], name) < getattr(first[-1], name) * 3
    assert second[0].predictions < first[-1].predictions
    assert second[-1].commits.count > 0
    assert all(model.taken >= 0 and model.matched >= 0 for vitals in second for model in vitals.models.values())


def test_looking_changes_no_byte_of_the_outputs(tmp_path):
    plain, watched = Worker(tmp_path / "plain"), Worker(tmp_path / "watched")
    for worker in (plain, watched):
        worker.feed(streams.stream(1, events=600))
    seen(watched)
    plain.run()
    before, after = plain.outputs(), watched.outputs()
    assert before == after


def test_a_look_that_takes_long_comes_less_often(monkeypatch):
    clock = iter([100.5, 100.5]).__next__
    monkeypatch.setattr(observing.time, "monotonic", clock)
    observer = Observer.__new__(Observer)
    assert observer.pause(100.0) == pytest.approx(0.5 / observing.SHARE)
    assert observer.pause(100.49) == observing.EVERY
