"""A story that is played is the story that a daemon reads from its logs, thresholds and all."""

import msgspec
import numpy as np
import pytest

from streameval import records
from streameval.cli.sources import topic_records
from streameval.config import load
from streameval.daemon.daemon import Daemon
from streameval.events.columns import Batch
from streameval.serve.truth import Truth
from streameval.stories.playing import Play
from streameval.stories.writing import CONFIG, TRUTH, write
from streameval.testing.streams import STORIES, story


def lines(folder, topic):
    return (folder / "events" / topic / "0.jsonl").read_bytes().splitlines()


@pytest.mark.parametrize("name", ["label_shift", "own_action", "stalled", "selective", "traffic"])
def test_a_daemon_over_the_logs_publishes_what_the_play_published(name, tmp_path):
    told = story(name, events=20_000)
    write(told, tmp_path)
    config = load(tmp_path / CONFIG)
    Daemon(config).run(until_end=True)
    read = [(r.topic, r.key, r.value) for r in topic_records(config)]
    played = Play(told).run().published
    clock = config.topics.clock
    for topic in {topic for topic, *_ in read} | {one.topic for one in played if one.topic != clock}:
        expected = [(one.topic, one.key, one.value) for one in played if one.topic == topic]
        assert [row for row in read if row[0] == topic] == expected


@pytest.mark.parametrize("name", STORIES)
def test_every_message_is_an_event_of_the_contract(name, tmp_path):
    write(story(name, events=2000), tmp_path)
    config = load(tmp_path / CONFIG)
    engine = Play(story(name, events=2000)).engine
    from streameval.engine import Engine

    decoder = Engine(config).decoder
    for topic, decode in (("predictions", decoder.predictions), ("outcomes", decoder.outcomes)):
        values = lines(tmp_path, topic)
        columns, rejections = decode(Batch(topic, 0, np.arange(len(values)), values, None))
        assert not rejections
        assert len(columns) == len(values) > 0
    assert engine.config.models == config.models


def test_decisions_follow_the_thresholds_that_were_in_force(tmp_path):
    told = story("own_action", events=60_000)
    write(told, tmp_path)
    events = [msgspec.json.decode(line) for line in lines(tmp_path, "predictions")]
    play = Play(told)
    threshold = {}
    for piece in play.slices():
        threshold |= dict.fromkeys(piece.predictions.number.tolist(), piece.threshold)
    assert len(set(threshold.values())) > 1
    assert all(event["decision"] == (event["score"] >= threshold[n]) for n, event in enumerate(events))
    # And a threshold acts only after its record says that it is in force.
    said = [records.read(r.value) for r in play.published if r.topic == "thresholds"]
    for record in said[1:]:
        first = min(n for n, value in threshold.items() if value == record.data.threshold)
        assert events[first]["ts"] >= records.epoch_ms(record.time) - 1


def test_the_same_bytes_come_out_each_time(tmp_path):
    for folder in ("a", "b"):
        write(story("own_action", events=5000), tmp_path / folder)
    for path in ("events/predictions/0.jsonl", "events/outcomes/0.jsonl", "events/clock/0.jsonl", CONFIG, TRUTH):
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_the_truth_can_be_read_back(tmp_path):
    _, truth = write(story("mixed", events=5000), tmp_path)
    assert msgspec.json.decode((tmp_path / TRUTH).read_bytes(), type=Truth) == truth
