"""Outputs are published once, whatever step a process dies at and whatever happens to its state."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import tally
from conftest import outputs, write_numbers
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.errors import (
    CommitError,
    FencedError,
    InvariantError,
    StateMismatchError,
    StorageError,
    TopicError,
)
from streameval.testing.crash import striking
from streameval.testing.memory import MemoryBroker, MemoryTransport
from streameval.transport.checkpoint import Checkpoints
from streameval.transport.commit import Committer, Start
from streameval.transport.logdir import LogDir
from streameval.transport.protocol import Outbox, Transport

STEPS = [*(f"commit.{i}" for i in range(1, 9)), *(f"start.{i}" for i in range(1, 7))]
# Thousands of small forced writes: in memory where the system offers it.
FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None


class Crash(BaseException):
    """Ends a run as a kill does: nothing in the package catches it."""


def crashing(at: str, count: int) -> Callable[[str], None]:
    left = count

    def strike(step: str) -> None:
        nonlocal left
        left -= step == at
        if left == 0 and step == at:
            raise Crash

    return strike


class Place:
    """A transport that outlives its processes, and a state directory."""

    def __init__(self, kind: str, root: Path) -> None:
        self.kind, self.logs, self.state = kind, root / "logs", root / "state"
        self.broker = MemoryBroker()
        write_numbers(self.logs)
        for partition in range(3):
            lines = (self.logs / "numbers" / f"{partition}.jsonl").read_bytes().splitlines()
            self.broker.append("numbers", partition, lines)

    def transport(self, seed: int) -> Transport:
        return LogDir(self.logs) if self.kind == "logdir" else MemoryTransport(self.broker, seed=seed)

    def run(self, seed: int = 0, **options):
        return tally.run(self.transport(seed), self.state, seed, **options)

    def outputs(self) -> dict[str, bytes]:
        if self.kind == "logdir":
            return outputs(self.logs)
        return {topic: self.broker.text(topic) for topic in self.broker.published}


@pytest.fixture(params=["memory", "logdir"])
def place(request, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path)


@pytest.fixture(scope="session")
def expected(tmp_path_factory, clean) -> dict[str, dict[str, bytes]]:
    memory = Place("memory", tmp_path_factory.mktemp("expected"))
    memory.run()
    assert memory.outputs().keys() == clean.keys()
    return {"logdir": clean, "memory": memory.outputs()}


def harm(place: Place, kind: str, snapshot: Path) -> None:
    """What happens to a state directory between two processes."""
    newest = max((place.state / "checkpoints").glob("*.json"), default=None)
    match kind:
        case "lost":
            shutil.rmtree(place.state)
        case "older" if snapshot.exists():
            shutil.rmtree(place.state)
            shutil.copytree(snapshot, place.state)
        case "damaged" if newest and len(list(newest.parent.glob("*.json"))) > 1:
            newest.write_bytes(newest.read_bytes()[:40])
        case "snapshot":
            shutil.rmtree(snapshot, ignore_errors=True)
            shutil.copytree(place.state, snapshot)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["memory", "logdir"]),
    lives=st.lists(
        st.tuples(
            st.sampled_from(STEPS),
            st.integers(1, 4),
            st.sampled_from(["none", "lost", "older", "damaged", "snapshot", "snapshot"]),
            st.integers(0, 40),
        ),
        max_size=6,
    ),
    seed=st.integers(0, 1000),
)
def test_any_crashes_and_harms_publish_what_one_clean_pass_does(expected, kind, lives, seed) -> None:
    with tempfile.TemporaryDirectory(dir=FAST) as name:
        root = Path(name)
        place = Place(kind, root)
        for number, (at, count, harmed, torn) in enumerate(lives):
            try:
                place.run(seed + number, on_step=crashing(at, count), chance=0.6)
            except Crash:
                if kind == "logdir" and at == "commit.6":
                    # The last append may have been cut at any byte; what was forced to the disk before stays.
                    tear(place, torn)
            harm(place, harmed, root / "snapshot")
        place.run(seed)
        assert place.outputs() == expected[kind]
        assert place.run(seed, commits=0).mode == "continue"


def tear(place: Place, count: int) -> None:
    """Take back up to so many bytes of what the crashed delivery appended."""
    newest = Checkpoints(place.state, tally.WORKER)
    found = newest.load()
    newest.close()
    if found is None:
        return
    for topic in tally.OUTPUTS:
        path = place.logs / topic / "0.jsonl"
        if path.exists() and path.stat().st_size > (floor := found.manifest.before.get(topic, 0)):
            with path.open("ab") as file:
                file.truncate(max(floor, path.stat().st_size - count))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("count", [1, 3])
def test_a_crash_at_each_step_is_healed_by_one_start(place: Place, expected, step: str, count: int) -> None:
    crashed = False
    for seed in (1, 2, 3, 4) if step.startswith("start") else (1,):
        try:
            place.run(seed, on_step=crashing(step, 1 if step.startswith("start") else count), commits=count)
        except Crash:
            crashed = True
    place.run(9)
    assert crashed
    assert place.outputs() == expected[place.kind]


def test_each_start_has_its_mode(place: Place, expected, tmp_path: Path) -> None:
    assert place.run(1, commits=0).mode == "new"
    place.run(1, commits=3)
    shutil.copytree(place.state, tmp_path / "old")
    start = place.run(2, commits=2)
    assert (start.mode, start.suppress) == ("continue", {})
    with pytest.raises(Crash):
        place.run(3, on_step=crashing("commit.5", 1))
    start = place.run(4, commits=1)
    assert (start.mode, start.n, start.record.n) == ("deliver", 6, 5)
    shutil.rmtree(place.state)
    shutil.copytree(tmp_path / "old", place.state)
    start = place.run(5, commits=1)
    assert (start.mode, start.checkpoint.n, start.n) == ("roll_forward", 3, 7)
    start = place.run(6, commits=1)
    assert (start.mode, start.n) == ("continue", 8)
    shutil.rmtree(place.state)
    start = place.run(7, commits=1)
    assert (start.mode, start.checkpoint, start.n) == ("rebuild", None, 9)
    assert start.suppress
    place.run(8)
    assert place.outputs() == expected[place.kind]


def test_a_damaged_newest_checkpoint_is_said(place: Place, expected) -> None:
    place.run(1, commits=4)
    newest = max((place.state / "checkpoints").glob("*.state"))
    newest.write_bytes(b"")
    start = place.run(2)
    assert start.mode == "roll_forward"
    assert str(newest) in start.messages[0]
    assert place.outputs() == expected[place.kind]


def test_fresh_numbers_on_in_a_new_lineage_and_cannot_be_rebuilt(place: Place) -> None:
    place.run(1)
    start = place.run(2, fresh=True, commits=0)
    assert (start.mode, start.lineage, start.n) == ("fresh", "2", start.record.n)
    assert start.sequences["sums0", "key1"] == 6
    # A state of the new lineage that is not committed yet is delivered like any other.
    checkpoints = Checkpoints(place.state, tally.WORKER)
    transport = place.transport(0)
    committer = Committer(transport, checkpoints, tally.WORKER, tally.OUTPUTS, crashing("commit.5", 1))
    committer.start(fresh=True)
    with pytest.raises(Crash):
        committer.commit(state=None, blobs={}, outbox=Outbox(), T=None, positions={})
    transport.close()
    checkpoints.close()
    transport, checkpoints = place.transport(0), Checkpoints(place.state, tally.WORKER)
    start = Committer(transport, checkpoints, tally.WORKER, tally.OUTPUTS).start()
    assert (start.mode, start.lineage) == ("deliver", "2")
    checkpoints.close()
    transport.close()
    shutil.rmtree(place.state)
    with pytest.raises(StateMismatchError, match=r"the state is lost, .* lineage 2 .*--fresh"):
        place.run(3)


def test_a_state_that_cannot_belong_to_the_commit_record_is_refused(place: Place, tmp_path: Path) -> None:
    place.run(1, commits=2)
    shutil.copytree(place.state, tmp_path / "two")
    place.run(2, commits=1)
    shutil.copytree(place.state, tmp_path / "three")
    shutil.rmtree(place.state)
    shutil.copytree(tmp_path / "two", place.state)
    other = Place(place.kind, tmp_path / "other")
    other.run(8, commits=1)
    other.state = tmp_path / "three"
    with pytest.raises(StateMismatchError, match="at checkpoint 3, but only 1 is committed"):
        other.run(1)
    twin = Place(place.kind, tmp_path / "twin")
    twin.run(5, commits=3)
    twin.state = tmp_path / "three"
    with pytest.raises(StateMismatchError, match="not the one that was committed"):
        twin.run(1)
    # One more than what is committed, but made after another one.
    cousin = Place(place.kind, tmp_path / "cousin")
    cousin.run(5, commits=2)
    cousin.state = tmp_path / "three"
    with pytest.raises(StateMismatchError, match="at checkpoint 3, but only 2 is committed"):
        cousin.run(1)


def test_a_topic_made_anew_is_noticed_at_the_start(place: Place) -> None:
    place.run(1, commits=3)
    place.broker.ids["numbers"] = "another"
    path = place.logs / "numbers" / "0.jsonl"
    path.write_bytes(b"9" * 8 + b"\n" + path.read_bytes())
    with pytest.raises(TopicError, match=r"made again.*--fresh"):
        place.run(2)


def test_changed_inputs_are_not_published_over(place: Place) -> None:
    place.run(1)
    shutil.rmtree(place.state)
    path = place.logs / "numbers" / "0.jsonl"
    path.write_bytes(path.read_bytes().replace(b"\n7\n", b"\n8\n"))
    place.broker.values["numbers", 0][7] = b"8"
    before = place.outputs()
    with pytest.raises(StateMismatchError, match="comes out otherwise than it was published"):
        place.run(2)
    assert place.outputs() == before


def test_a_full_disk_stops_with_the_cure_and_loses_nothing(place: Place, expected) -> None:
    for step in [f"commit.{i}" for i in range(1, 9)]:
        with pytest.raises(StorageError, match=r"No space left on device \(free some space"):
            place.run(1, on_step=striking(step, 2, 28), chance=0.1)
    place.run(2)
    assert place.outputs() == expected[place.kind]


def committing(broker: MemoryBroker, state: Path) -> tuple[Committer, Checkpoints]:
    checkpoints = Checkpoints(state, "w")
    committer = Committer(MemoryTransport(broker), checkpoints, "w", ["t"])
    committer.start()
    return committer, checkpoints


def one(sequence: int) -> dict:
    box = Outbox()
    box.add("t", "k", b'{"sequence":%d}' % sequence, sequence)
    return {"state": sequence, "blobs": {}, "outbox": box, "T": sequence, "positions": {("numbers", 0): sequence}}


def test_a_snapshot_from_the_middle_of_a_roll_forward_knows_both_what_was_before_and_after_it(tmp_path: Path) -> None:
    broker = MemoryBroker()

    def numbered(*outputs: tuple[str, int]) -> dict:
        box = Outbox()
        for key, sequence in outputs:
            box.add("t", key, b'{"key":"%s","sequence":%d}' % (key.encode(), sequence), sequence)
        return {"state": None, "blobs": {}, "outbox": box, "T": None, "positions": {}}

    first, _ = committing(broker, tmp_path / "first")
    first.commit(**numbered(("k", 0), ("k", 1), ("k", 2)))
    second, checkpoints = committing(broker, tmp_path / "second")
    assert second.commit(**numbered(("k", 0), ("j", 0))).outbox == numbered(("j", 0))["outbox"]
    shutil.copytree(tmp_path / "second", tmp_path / "snapshot")
    second.commit(**numbered(("j", 1)))
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "snapshot", "w")
    third = Committer(MemoryTransport(broker), checkpoints, "w", ["t"])
    start = third.start()
    assert (start.mode, start.suppress) == ("roll_forward", {("t", "k"): 2, ("t", "j"): 1})
    left = third.commit(**numbered(("k", 1), ("j", 1), ("k", 2), ("j", 2), ("k", 3))).outbox
    assert left == numbered(("j", 2), ("k", 3))["outbox"]


@pytest.mark.parametrize("fault", ["refused", "unanswered"])
def test_a_failed_delivery_is_settled_with_the_same_bytes(tmp_path: Path, fault: str) -> None:
    broker = MemoryBroker()
    committer, _ = committing(broker, tmp_path)
    committer.commit(**one(0))
    with pytest.raises(InvariantError, match="nothing waits"):
        committer.settle()
    broker.faults = [fault, "refused"] if fault == "refused" else [fault]
    with pytest.raises(CommitError):
        committer.commit(**one(1))
    with pytest.raises(InvariantError, match="after a failed one"):
        committer.commit(**one(2))
    if fault == "refused":
        with pytest.raises(CommitError):
            committer.settle()
    settled = committer.settle()
    assert settled.record.n == 2
    committer.commit(**one(2))
    assert broker.text("t") == b"".join(b'{"sequence":%d}\n' % n for n in range(3))
    assert [record.n for record in broker.records] == [1, 2, 3]


def test_a_worker_that_was_fenced_off_publishes_nothing_more(tmp_path: Path) -> None:
    broker = MemoryBroker()
    first, _ = committing(broker, tmp_path / "a")
    first.commit(**one(0))
    second, _ = committing(broker, tmp_path / "b")
    with pytest.raises(FencedError):
        first.commit(**one(1))
    second.commit(**one(0))
    second.commit(**one(1))
    with pytest.raises(FencedError):
        first.settle()
    assert broker.text("t") == b"".join(b'{"sequence":%d}\n' % n for n in range(2))


def test_a_state_that_was_sealed_and_never_committed_goes_on_only_where_all_that_it_decided_is_published(
    tmp_path: Path,
) -> None:
    broker = MemoryBroker()
    first, checkpoints = committing(broker, tmp_path / "a")
    first.commit(**one(0))
    broker.faults = ["refused"]
    ahead = one(2)
    ahead["outbox"] = Outbox()
    for sequence in (1, 2):
        ahead["outbox"].extend(one(sequence)["outbox"].records)
    with pytest.raises(CommitError):
        first.commit(**ahead)
    checkpoints.close()
    # Another copy takes over, from the beginning of the logs, and has not come as far with its third commit.
    second, _ = committing(broker, tmp_path / "b")
    for sequence in (0, 1):
        second.commit(**one(sequence))

    def start() -> Start:
        kept = Checkpoints(tmp_path / "a", "w")
        try:
            return Committer(MemoryTransport(broker), kept, "w", ["t"]).start()
        finally:
            kept.close()

    with pytest.raises(StateMismatchError, match="another copy of this state went on"):
        start()
    second, _ = committing(broker, tmp_path / "c")
    for sequence in (0, 1, 2):
        second.commit(**one(sequence))
    assert start().mode == "roll_forward"


def test_random_lives_of_many_crashes_end_well(expected) -> None:
    """As the law above, with many more crashes in a row than hypothesis likes to draw."""
    choose = random.Random(20)
    with tempfile.TemporaryDirectory(dir=FAST) as name:
        place = Place("logdir", Path(name))
        crashes = 0
        for seed in range(40):
            try:
                place.run(seed, on_step=crashing(choose.choice(STEPS), choose.randint(1, 2)), chance=0.2, commits=2)
            except Crash:
                crashes += 1
        place.run(99)
        assert crashes > 10
        assert place.outputs() == expected["logdir"]
