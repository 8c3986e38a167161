"""A story as the logs that a daemon reads: event messages, a configuration, and what truly happened.

The story is played first, because what is done follows the thresholds in force, and what is done stands in its events.
A daemon that reads the logs afterwards comes to the same thresholds at the same times, so they fit.

Invariant: the same bytes on every run of the same release. Layout of a logdir: ``events/<topic>/0.jsonl``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import yaml

from streameval.serve.truth import Truth
from streameval.stories.events import Reported, identifier
from streameval.stories.playing import KPI, OUTCOMES, PREDICTIONS, Play, Slice, settings
from streameval.stories.story import MODEL, Story

__all__ = ["CONFIG", "TRUTH", "write"]

CONFIG: Final = "streameval.yaml"
TRUTH: Final = "truth.json"
_HEAD: Final = "# Written by `streameval demo`: the story {name}, seed {seed}. {sentence}\n"


def write(story: Story, folder: Path, progress: Callable[[int, int], None] | None = None) -> tuple[Path, Truth]:
    """Write logs, configuration and truth of a story into an empty folder.

    Args:
        story: which one.
        folder: where to.
        progress: called now and then with (events done, events in all).

    Returns:
        The path of the configuration, and the truth.

    Raises:
        OSError: the folder refuses it.
    """
    told = progress or (lambda _done, _total: None)
    play = Play(story)
    events = folder / "events"
    for topic in (PREDICTIONS, OUTCOMES, play.config.topics.clock):
        (events / topic).mkdir(parents=True, exist_ok=True)
    kpi = KPI in play.config.models[0].kpis
    reported, done = [], 0
    with (events / PREDICTIONS / "0.jsonl").open("w", encoding="utf-8") as log:
        for decided in play.slices():
            log.writelines(_predictions(decided, selective=story.labels.selective is not None))
            reported.append(Reported.of(decided.predictions, decided.acted))
            done += len(decided.predictions)
            told(done, story.events)
    with (events / OUTCOMES / "0.jsonl").open("w", encoding="utf-8") as log:
        log.writelines(_outcomes(Reported.join(reported).in_order(), kpi=kpi))
    marks = [one.value for one in play.published if one.topic == play.config.topics.clock and one.value is not None]
    (events / play.config.topics.clock / "0.jsonl").write_bytes(b"".join(mark + b"\n" for mark in marks))
    truth = story.truth()
    (folder / TRUTH).write_bytes(msgspec.json.format(msgspec.json.encode(truth)) + b"\n")
    config = folder / CONFIG
    head = _HEAD.format(name=story.name, seed=story.seed, sentence=story.sentence)
    config.write_text(head + yaml.safe_dump(settings(story), sort_keys=False, default_flow_style=False), "utf-8")
    return config, truth


def _predictions(decided: Slice, *, selective: bool) -> list[str]:
    columns = decided.predictions
    rows = zip(
        columns.number.tolist(),
        columns.ts.tolist(),
        columns.score.tolist(),
        decided.acted.decision.tolist(),
        decided.acted.propensity.tolist(),
        strict=True,
    )
    return [
        f'{{"id":"{identifier(number)}","model":"{MODEL}","ts":{ts},"score":{score!r},"decision":{int(decision)}'
        + (f',"propensity":{propensity!r}}}\n' if selective else "}\n")
        for number, ts, score, decision, propensity in rows
    ]


def _outcomes(told: Reported, *, kpi: bool) -> list[str]:
    rows = zip(told.number.tolist(), told.ts.tolist(), told.label.tolist(), told.revenue.tolist(), strict=True)
    return [
        f'{{"id":"{identifier(number)}","ts":{ts},"label":{int(label)}'
        + (f',"values":{{"{KPI}":{revenue!r}}}}}\n' if kpi else "}\n")
        for number, ts, label, revenue in rows
    ]
