"""A shard: the models of one worker among several that read the same topics.

Invariants: every model belongs to exactly one of n shards, by the hash of its name alone; what is rejected before its
model is known is told by exactly one of them.

Source: DESIGN "A worker owns whole models".
"""

from __future__ import annotations

from dataclasses import dataclass

import xxhash

from streameval.config import Config
from streameval.errors import ConfigValueError
from streameval.events.rejected import UNKNOWN_MODEL, Rejection, unknown_model

__all__ = ["Shard"]


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard ``index`` of ``count``.

    Raises:
        ConfigValueError: It is none of them.

    >>> [Shard(k, 2).owns("fraud") for k in range(2)]
    [False, True]
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigValueError(
                f"there is no shard {self.index} of {self.count}", where="--shard", cure="shards count from 0: 0/2, 1/2"
            )

    def owns(self, name: str) -> bool:
        """Whether a model of this name is this shard's."""
        return self.count == 1 or xxhash.xxh3_64_intdigest(name.encode()) % self.count == self.index

    def part(self, config: Config) -> Config:
        """The configuration of this shard's worker: its own models, name and state directory.

        Raises:
            ConfigValueError: No model is this shard's.
        """
        if self.count == 1:
            return config
        models = tuple(model for model in config.models if self.owns(model.name))
        if not models:
            raise ConfigValueError(
                f"no model belongs to shard {self.index} of {self.count}",
                where="models",
                cure="use fewer shards: a model belongs to the shard that the hash of its name says",
            )
        return config.model_copy(
            update={
                "models": models,
                "worker": f"{config.worker}-{self.index}",
                "state": config.state / f"shard-{self.index}",
            }
        )

    def elsewhere(self, config: Config) -> frozenset[str]:
        """What is said of other shards' models where they are met here (see `tells`)."""
        return frozenset(unknown_model(model.name) for model in config.models if not self.owns(model.name))

    def tells(self, rejection: Rejection, elsewhere: frozenset[str]) -> bool:
        """Whether this shard is the one that publishes a rejection that all of them meet."""
        if self.count == 1:
            return True
        if rejection.reason == UNKNOWN_MODEL:
            return rejection.detail not in elsewhere and self.owns(rejection.detail)
        return self.index == 0
