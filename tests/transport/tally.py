"""A loop small enough to see through: sums the numbers of each partition and says every third sum.

It has all that the daemon has: state, blobs, outputs with sequences and tombstones, and commits at random instants.
What it publishes is a function of the logs alone, so a run with faults must publish the same bytes as a run without.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np

from streameval.errors import StreamevalError
from streameval.transport.checkpoint import Checkpoints
from streameval.transport.commit import Committer, Start
from streameval.transport.logdir import LogDir
from streameval.transport.protocol import OnStep, Outbox, Transport

WORKER = "tally"
OUTPUTS = ("sums0", "sums1", "sums2")
SEGMENT = 8


class Tally:
    """The fold: sums, and all numbers in segments of eight."""

    def __init__(self, state: dict | None = None, blobs: dict | None = None) -> None:
        state = state or {"sums": {}, "seen": {}, "sequence": {}, "full": [], "rest": np.zeros(0, np.int64)}
        self.sums, self.seen, self.sequence = state["sums"], state["seen"], state["sequence"]
        self.full, self.rest = state["full"], state["rest"]
        self.segments = dict(blobs or {})
        self.outbox = Outbox()

    def add(self, partition: int, value: bytes) -> None:
        p = str(partition)
        self.sums[p] = self.sums.get(p, 0) + int(value) ** 9
        self.seen[p] = self.seen.get(p, 0) + 1
        self.rest = np.append(self.rest, int(value))
        if len(self.rest) == SEGMENT:
            name = f"segment-{len(self.full)}"
            self.full.append(name)
            self.segments[name], self.rest = self.rest, np.zeros(0, np.int64)
        if self.seen[p] % 3 == 0:
            self._say(partition, f"key{self.seen[p] % 2}", self.seen[p] % 15 == 0)

    def _say(self, partition: int, key: str, tombstone: bool) -> None:
        name = f"{partition}/{key}"
        sequence = self.sequence.get(name, -1) + 1
        self.sequence[name] = sequence
        head = f'"source":"/streameval/{WORKER}","subject":"{key}","sequence":{sequence}'
        text = f'{{{head},"sum":{self.sums[str(partition)]}}}'
        self.outbox.add(f"sums{partition}", key, None if tombstone else text.encode(), sequence)

    def state(self) -> dict:
        return {"sums": self.sums, "seen": self.seen, "sequence": self.sequence, "full": self.full, "rest": self.rest}

    def check(self) -> None:
        """The segments hold each number once."""
        numbers = np.concatenate([*(self.segments[name] for name in self.full), self.rest])
        assert len(numbers) == sum(self.seen.values())
        assert sum(int(number) ** 9 for number in numbers) == sum(self.sums.values())


def run(
    transport: Transport,
    state: Path,
    seed: int,
    *,
    on_step: OnStep | None = None,
    fresh: bool = False,
    commits: int | None = None,
    chance: float = 0.3,
) -> Start:
    """From a start to the end of the logs, or for so many commits."""
    cuts = random.Random(seed)
    checkpoints = Checkpoints(state, WORKER)
    try:
        committer = Committer(transport, checkpoints, WORKER, OUTPUTS, on_step)
        start = committer.start(["numbers"], fresh=fresh)
        found = start.checkpoint
        tally = Tally(found.state, found.blobs) if found else Tally()
        positions = {("numbers", p): 0 for p in transport.partitions(["numbers"])["numbers"]}
        if found:
            positions |= found.positions
        transport.assign(positions, found.manifest.hints if found else None)
        stored = set(found.blobs if found else ())
        done = 0
        while commits is None or done < commits:
            place = cuts.choice(sorted(positions))
            batch = transport.read(*place, cuts.randint(1, 5))
            for value in batch.values if batch else ():
                tally.add(place[1], value)
            positions[place] = transport.position(place)
            ended = all(transport.caught_up(place) for place in positions)
            if ended or cuts.random() < chance:
                blobs = {name: None if name in stored else tally.segments[name] for name in tally.full}
                outbox, tally.outbox = tally.outbox, Outbox()
                committer.commit(state=tally.state(), blobs=blobs, outbox=outbox, T=None, positions=positions)
                stored |= set(blobs)
                done += 1
            if ended:
                break
        tally.check()
        return start
    finally:
        checkpoints.close()
        transport.close()


def main() -> int:
    """``tally LOGS STATE SEED``: the loop as a process of its own."""
    logs, state, seed = sys.argv[1:]
    try:
        run(LogDir(Path(logs)), Path(state), int(seed))
    except StreamevalError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
