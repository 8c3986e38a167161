"""Two workers that share the models by ``--shard k/2`` publish, together, what one worker of each model would."""

from __future__ import annotations

import json
import time

from events_stream import Stream
from scene import counted, differ

from streameval.engine.shard import Shard

FOUR = ("fraud", "churn", "spam", "ads")


def sharded(scene):
    models = [{**scene.config["models"][0], "name": name} for name in FOUR]
    scene.config |= {"models": models, "unknown_models": "reject"}
    return [Shard(k, 2).part(scene.checked) for k in range(2)]


def test_two_shards_publish_all_models_once_and_changing_their_number_is_refused(make_scene, nursery):
    scene, stream = make_scene(), Stream(seed=21, predictions=4_000, models=FOUR)
    scene.make_topics()
    parts = sharded(scene)
    assert sorted(model.name for part in parts for model in part.models) == sorted(FOUR)
    workers = [nursery.start(scene.config, shard=[k, 2]) for k in range(2)]
    for part in stream.parts:
        scene.feed(part)
        time.sleep(0.1)
    scene.await_marks(8, "w-0", "w-1")
    workers[1].kill()
    assert workers[0].stop() == 0
    # Both at once: what the killed one left open hides the other's commits until it is back.
    for worker in [nursery.start(scene.config, until_end=True, shard=[k, 2]) for k in range(2)]:
        assert worker.wait() == 0, worker.text()[-2000:]
    told = []
    for k, part in enumerate(parts):
        seen = scene.published(part)
        marks = [mark for mark in scene.marks() if json.loads(mark)["source"] == f"/streameval/w-{k}"]
        differ(seen, scene.expected(marks=marks, shard=(k, 2)))
        assert counted(seen)["metrics"] > 0
        models = {key.split("/")[0] for topic, key in seen if topic == "metrics"}
        assert models == {model.name for model in part.models}
        for (topic, _), values in seen.items():
            if topic == "rejected":
                told += [json.loads(v)["data"] for v in values]
    places = [(d["topic"], d["partition"], d["offset"]) for d in told if d["count"] == 1 and d["reason"] != "late"]
    assert len(places) == len(set(places)), "a rejection was told twice"
    assert any("unheard-of" in d["detail"] for d in told)
    assert not any(f"'{name}'" in d["detail"] for d in told for name in FOUR)
    k = next(k for k in range(2) if any(Shard(k, 3).owns(name) for name in FOUR))
    worker = nursery.start(scene.config, until_end=True, shard=[k, 3])
    assert worker.wait() == 3
    last = worker.text().splitlines()[-1]
    assert "one of 2 shards" in last
    assert "another worker name" in last
