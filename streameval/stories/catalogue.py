"""The stories that exist, by name: for each way in which a stream and its labels can behave, one that does only that.

All tell of a lender whose model says P(a loan is not repaid). A loan refused in vain costs 1, one granted in vain ten
(a hundred where defaults are rare), so the best threshold on a true probability is 1/11.

Invariant: one story, one thing that happens (but for ``mixed``): what a daemon says about it has one right answer.
"""

from __future__ import annotations

from typing import Final

from streameval.stories.story import DAY, HOUR, Change, Labels, Story
from streameval.stories.world import World

__all__ = ["STORIES", "story"]

_AS_TRAINED: Final = World()
_RARE: Final = World(prevalence=0.001, trained_prevalence=0.001, separation=2.5, trained_separation=2.5)


def _calm(said: str = "nothing changes", world: World = _AS_TRAINED, delay: float = 2.0 * HOUR) -> Change:
    return Change(0.0, "none", said, world, delay)


def _then(name: str, sentence: str, change: Change) -> Story:
    return Story(name, sentence, (_calm("as the model was trained"), change))


_ALL: Final = (
    Story("stationary", "Nothing ever changes: whatever a daemon does here, it does in vain.", (_calm(),)),
    Story(
        "seasonal",
        "Defaults rise and fall by 30 % every day, as they did when the model was trained.",
        (_calm("a daily wave of ±30 %, and nothing else"),),
        season=0.3,
    ),
    Story(
        "bursty",
        "Defaults come in bursts: 14 % instead of 4 % for an hour or two, now and then.",
        (_calm("bursts, and nothing else", World(prevalence=0.04)),),
        burst=(0.14, 250.0, 2250.0),
    ),
    Story(
        "rare",
        "One loan in 1,000 defaults, and from two thirds on it is five.",
        (
            _calm("as the model was trained", _RARE),
            Change(
                2 / 3,
                "label_shift",
                "five times as many default",
                World(prevalence=0.005, trained_prevalence=0.001, separation=2.5, trained_separation=2.5),
            ),
        ),
        events=900_000,
        rate=30_000 / 86_400,
        fn=100.0,
        reference=250_000,
        labels=Labels(wait=3 * DAY, longest=2 * DAY, positives_only=True),
    ),
    _then(
        "label_shift",
        "From half-way on three times as many loans default; who defaults looks as before.",
        Change(0.5, "label_shift", "three times as many default", World(prevalence=0.15)),
    ),
    _then(
        "covariate",
        "From half-way on another clientele asks for loans; the model is as right about them as about all others.",
        Change(0.5, "covariate_shift", "other people ask", World(odd=0.4, odd_mean=0.5, odd_spread=0.7)),
    ),
    _then(
        "miscalibration",
        "From half-way on a bug flattens the scores; they still rank loans as before.",
        Change(0.5, "miscalibration", "scores no longer mean what they say", World(slope=0.6, offset=0.2)),
    ),
    _then(
        "concept_drift",
        "From half-way on the model tells good and bad loans apart less well, and no threshold can help.",
        Change(0.5, "concept_drift", "what the model has learnt is less true", World(separation=1.0)),
    ),
    Story(
        "mixed",
        "More defaults, then a bug in the scores, then the model itself grows old.",
        (
            _calm("as the model was trained"),
            Change(0.25, "label_shift", "twice as many default", World(prevalence=0.1)),
            Change(0.5, "miscalibration", "and a bug flattens the scores", World(prevalence=0.1, slope=0.6)),
            Change(
                0.75,
                "concept_drift",
                "and what the model has learnt is less true",
                World(prevalence=0.1, slope=0.6, separation=1.0),
            ),
        ),
        events=240_000,
    ),
    Story(
        "own_action",
        "Most loans that are refused would have defaulted and now cannot: decisions change what is seen afterwards.",
        (_calm("nothing but what the decisions do"),),
        threshold=0.5,
        labels=Labels(prevented=0.8),
    ),
    Story(
        "delayed",
        "Only defaults are reported, over days, and from half-way on three times as slowly.",
        (
            _calm("defaults are known after half a day", delay=0.5 * DAY),
            Change(0.5, "labels", "after a day and a half", _AS_TRAINED, delay=1.5 * DAY),
        ),
        labels=Labels(wait=7 * DAY, longest=int(6.9 * DAY), positives_only=True),
    ),
    Story(
        "stalled",
        "From 60 % on no outcomes come any more, though nothing changes.",
        (_calm("outcomes flow"), Change(0.6, "labels_stalled", "no outcomes come", _AS_TRAINED)),
        labels=Labels(end=0.6),
    ),
    Story(
        "selective",
        "Only refused loans are looked into, and one in five of the others.",
        (_calm("nothing but what is looked at"),),
        labels=Labels(selective=0.2),
    ),
    Story(
        "traffic",
        "From half-way on there are twice as many loans, and only defaults are reported.",
        (_calm("as the model was trained"), Change(0.5, "traffic", "twice the traffic", _AS_TRAINED, traffic=2.0)),
        labels=Labels(wait=3 * DAY, longest=2 * DAY, positives_only=True),
    ),
)

STORIES: Final = {story.name: story for story in _ALL}
"""Every story, by name."""


def story(name: str, *, seed: int = 0, events: int | None = None, rate: float | None = None) -> Story:
    """A story by its name.

    Args:
        name: one of `STORIES`.
        seed: everything random follows from it.
        events: predictions; by default as many as the story needs.
        rate: predictions a second; by default the story's own. At another rate its days are shorter or longer.

    Raises:
        KeyError: there is no such story.

    >>> sum(len(block) for block in story("label_shift", seed=7, events=1000).blocks())
    1000
    """
    return STORIES[name].sized(seed=seed, events=events, rate=rate)
