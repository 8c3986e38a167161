"""Stories played once for all tests that ask about them, and what was said about them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import pytest

from streameval.config import parse
from streameval.serve.series import Key, Series
from streameval.serve.snapshot import Snapshot
from streameval.serve.truth import Answer, answers
from streameval.stories.playing import Play, settings
from streameval.stories.story import MODEL, Story
from streameval.testing.streams import story


@dataclass
class Performance:
    """A story that was played, and what was said."""

    play: Play

    @cached_property
    def series(self) -> Series:
        snapshot = Snapshot()
        for record in self.play.published:
            if record.value is not None and record.topic != "clock":
                snapshot.feed(record.topic, record.value)
        found = snapshot.get(Key(MODEL, "0"))
        assert found is not None
        return found

    @property
    def answers(self) -> list[Answer]:
        return answers(self.play.story.truth(), self.series)

    def confirmed(self):
        """Confirmed drift records, those of the label pipeline left out."""
        return [d for d in self.play.data("drift") if d.tier == "confirmed" and d.monitor not in PIPELINE]

    def moves(self):
        """Threshold records after the first."""
        return [t for t in self.play.data("thresholds") if t.previous is not None]


PIPELINE = {"late", "label_delay", "label_loss", "offline_gap"}


def performed(told: Story, **changes) -> Performance:
    return Performance(Play(told, parse(settings(told, **changes))).run())


@pytest.fixture(scope="session")
def perform():
    """Play a story, by its name and size; the same one is played once."""

    @cache
    def play(name: str, seed: int = 0, events: int | None = None, rate: float | None = None) -> Performance:
        return performed(story(name, seed=seed, events=events, rate=rate))

    return play
