"""The join of one model: predictions and outcomes in; closed and matured cohorts, amendments, late predictions out.

Invariant: what `advance(T)` has given in all, and the counters, are a function of the set of events with logical time
< T (with logical time and partition) and of T; not of batches, of the order in which partitions were read, of how
often `advance` was called, or of restarts. It holds because an event is used only when T has passed its logical time,
from where on no earlier one can come: until then it waits in `Pending`, at about the bytes of the row it will become.
A stretch of time is then done at once, vectorised. Where one event's fate hangs on another's within a stretch, either
a fixed point decides (late predictions, see `maturity`) or the stretch is cut in two (`_Cut`).

At one logical time predictions come first, then outcomes, then cohorts close, then cohorts mature.

A cohort that is not complete matures when labels have *flowed* for `wait` since its end: in the pauses of the label
flow (see `flow`) the wait stands still. Where labels should have come in a pause, all that waits is *held* until labels
have flowed for another `wait` since, and then judged (see `proof`): if labels are lost, all that the pause touched
leaves. So does what gives up (its pause lasts, and `give_up` has passed beyond its wait). What leaves is *unproven*: it
leaves whole, without any label, for to keep what came of it would select on the outcome. For the same reason nothing
behind it is taken for complete before labels flow again. What has reached the age by which every label so far had come
has nothing left to come, and counts.

Where a missing label is a negative, and labels may come of positives alone, a cohort with all its labels is one without
negatives: it is not taken for complete before a label has said "negative".

Identity is (version, 64-bit hash of the id). Two ids with one hash within a model are taken for one: among n retained
ids a new one meets another's hash with probability <= n / 2^64, so with 10M retained rows and 1,000 predictions a
second one such event is expected in 58 years (2^64 / (10^7 * 1000 / s)). It would lose the later prediction and give
its outcome to the earlier; it shows in `duplicates_differing` (same identity, other time, score or kind), as does a
producer that reuses ids. Whoever chooses ids can bring it about unless they are hashed with a key (`events.ids`).

Source: DESIGN, "Time" and "Retained rows".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from streameval.errors import InvariantError, StateVersionError
from streameval.join.acts import Advance, Amendments, Cohorts, Labelled, Late
from streameval.join.admission import DOUBT, DUPLICATE, FOLLOWER, LATE, ROW, Followers, Span, within
from streameval.join.blob import Load
from streameval.join.flow import LabelFlow
from streameval.join.maturity import Open, Strays, maturities
from streameval.join.outliving import Outliving
from streameval.join.pauses import NEVER, Pauses
from streameval.join.pending import Pending
from streameval.join.proof import LabelledShare, lost
from streameval.join.recent import Recent
from streameval.join.rows import Rows
from streameval.join.run import Run, search, smallest
from streameval.order import distinct, order_by

Column = NDArray[Any]
Columns = dict[str, Column]
I64 = NDArray[np.int64]

SCHEMA = 2
_IDENTITY = ("hash", "version", "lt", "part")
_STRETCH = 2**18  # events done at once: large enough to vectorise, small enough to stay in memory
_COUNTERS = (
    "taken",
    "duplicates",
    "duplicates_differing",
    "matched",
    "amended",
    "repeated",
    "late",
    "unlabelled",
    "unproven",
    "expired",
)
_NOT_HELD = (-NEVER, -NEVER)  # cohorts that end by the second are held; labels were last heard, before, at the first
_HEARTBEAT = -2  # in the place of an outcome's label


class _Cut(Exception):  # noqa: N818 - a signal, not an error
    """The stretch must end at `at`: what comes then hangs on what comes before."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


@dataclass(slots=True)
class _Done:
    """Matured cohorts whose rows are retained, ascending.

    `start`, `at` (maturity), `rows` (their number) int64[c]; `unproven` bool[c].
    """

    start: I64
    at: I64
    rows: I64
    unproven: NDArray[np.bool_]

    @classmethod
    def none(cls) -> _Done:
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, empty, np.zeros(0, bool))

    def take(self, keep: slice) -> _Done:
        return _Done(self.start[keep], self.at[keep], self.rows[keep], self.unproven[keep])

    def then(self, other: _Done) -> _Done:
        return _Done(
            np.concatenate([self.start, other.start]),
            np.concatenate([self.at, other.at]),
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.unproven, other.unproven]),
        )


@dataclass(slots=True)
class _Pairs:
    """Outcomes that meet rows, by (run, row, lt, part, order read); a new row has the run after the last."""

    run: I64
    row: I64
    start: I64
    of: I64
    outcome: I64
    lt: I64
    label: NDArray[np.int8]

    def take(self, keep: NDArray[np.bool_] | I64) -> _Pairs:
        return _Pairs(*(getattr(self, name)[keep] for name in ("run", "row", "start", "of", "outcome", "lt", "label")))

    def __len__(self) -> int:
        return len(self.run)


@dataclass(slots=True)
class _Signs:
    """First labels in time: `at` int64[n] when, `part` int64[n] whence, `age` int64[n] since the cohort's end.

    `negative`: when the first of all labels came that was one, `NEVER` if none.
    """

    at: I64
    part: I64
    age: I64
    negative: int

    @classmethod
    def none(cls) -> _Signs:
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, empty, NEVER)


@dataclass(slots=True)
class _Due:
    """When cohorts that end at `end` mature at the latest, and how. All [c]; `deadline` int64, `NEVER`: not yet known.

    `gives_up`: for want of labels; `lost`: labels of theirs are. `held`, `muted_to`: as in `Join`, from now on.
    """

    end: I64
    deadline: I64
    gives_up: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    held: tuple[int, int]
    muted_to: int


class Join:
    """One model's predictions that wait for outcomes; see the module.

    Args: durations in ms: `interval` of a cohort, `wait` for labels, `amend` retention after maturity, `early` that an
    outcome may come before its prediction, `give_up` that silent labels are borne beyond `wait`; `missing`: what an
    unlabelled row becomes at maturity by waiting; names of `kpis`; `shards`: so many parts of outcomes are one feed;
    how many `tags` a row has (small numbers that are handed through).

    Counters, exact as of T: `taken` predictions (rows, duplicates and late), `duplicates`, `duplicates_differing`,
    `matched` outcomes that met a row, `orphans` that no longer can, `amended` (times that an outcome replaced a value
    of a row, or changed one after maturity), `repeated` (times that an outcome changed nothing in a row), `late`,
    `unlabelled` (rows that matured without a label), `unproven` (those of them whose cohort left whole), `expired`
    rows. `waiting`: rows and predictions in memory now. `first_label`: smallest logical time of a label that met a row.
    `stalled_since`: end + wait of the first open cohort, if nothing but silent labels holds it.

    >>> join = Join(interval=10, wait=100, amend=50, early=5, give_up=1000, missing="negative", kpis=())
    >>> join.put(0, [3, 4], [3, 4], [11, 12], [.5, .9], [0, 0], [0, 0])
    >>> join.match(1, [20], [20], [12], [1.0], {})
    >>> beats = np.arange(5, 205, 25)
    >>> join.match(1, beats, beats, beats, beats * np.nan, {}, beats > 0)
    >>> acts = join.advance(200)
    >>> acts.matured.label.tolist(), acts.matured.at.tolist()
    ([0, 1], [110])
    """

    def __init__(
        self,
        *,
        interval: int,
        wait: int,
        amend: int,
        early: int,
        give_up: int,
        missing: Literal["negative", "drop"],
        kpis: tuple[str, ...] = (),
        shards: int = 1,
        tags: int = 0,
    ) -> None:
        if interval <= 0 or min(wait, amend, early, give_up) < 0:
            raise ValueError("interval must be positive; wait, amend, early and give_up must not be negative")
        self.interval = interval
        self.wait = wait
        self.amend = amend
        self.early = early
        self.give_up = give_up
        self.missing = missing
        self.kpis = tuple(kpis)
        self.shards = shards
        self.tags = tags
        self.now = -NEVER
        self.first_label: int | None = None
        self.stalled_since: int | None = None
        self.taken = self.duplicates = self.duplicates_differing = self.matched = self.amended = 0
        self.repeated = self.late = self.unlabelled = self.unproven = self.expired = 0
        self._predictions = Pending(_predictions(0, [], [], [], [], [], [], [], [[]] * tags))
        self._outcomes = Pending(self._outcome_columns(0, [], [], [], [], {}))
        self._rows = Rows(interval, self.kpis, tags)
        self._recent = Recent(early, len(self.kpis))
        self._open = Open.none()
        self._strays = Strays.none()
        self._done = _Done.none()
        self._outliving = Outliving.none()
        self._matured_to = -NEVER  # start of the last cohort that matured
        self._matured_at = -NEVER  # and when
        self._closed_to = -NEVER  # cohorts starting before are closed
        self._flow = LabelFlow(interval, wait, give_up)
        self._share = LabelledShare()
        self._held = _NOT_HELD
        self._muted_to = -NEVER  # cohorts that end by then are not taken for complete
        self._oldest = 0  # largest age of a first label, counted from its cohort's end
        self._negative = NEVER  # when the first label came that was a negative
        self._waited = False  # whether a cohort has matured by waiting

    @property
    def orphans(self) -> int:
        """Outcomes that met no row and no longer can."""
        return self._recent.orphans

    @property
    def waiting(self) -> int:
        """Rows and predictions in memory (those of expired cohorts until their run goes)."""
        return sum(len(run) for run in self._rows.runs) + len(self._predictions)

    @property
    def ahead(self) -> int:
        """Outcomes in memory that T has not reached."""
        return len(self._outcomes)

    @property
    def next_close(self) -> int:
        """A time before which no further cohort closes: as late as is known without looking at the rows."""
        if len(self._open) and self._open.start[-1] >= self._closed_to:
            return self.now
        earliest = self._predictions.earliest()
        return NEVER if earliest is None else max(self.now, earliest)

    @property
    def nbytes(self) -> int:
        """Bytes of all columns held."""
        return self._rows.nbytes + self._recent.nbytes + self._predictions.nbytes + self._outcomes.nbytes

    def put(
        self,
        part: int,
        ts: Any,
        lt: Any,
        id_hash: Any,
        score: Any,
        kind: Any,
        version: Any,
        offset: Any = None,
        tags: Sequence[Any] = (),
    ) -> None:
        """Take predictions of one partition, in offset order.

        Args: `part` small int, ordered like (topic, partition); arrays [n]: `ts`, `lt` int64 ms (lt >= ts, lt >= T),
        `id_hash` uint64, `score` float64, `kind` int32 (handed through like the tags, and part of the rows' order),
        `version` int16 (its code), `offset` int64 in the log (told of those that are late; 0 where not given); `tags`
        one array [n] of whole numbers >= 0 for each that the join has.
        Raises InvariantError for a logical time that T has passed.
        """
        self._queue(self._predictions, _predictions(part, ts, lt, id_hash, score, kind, version, offset, tags))

    def match(
        self, part: int, ts: Any, lt: Any, id_hash: Any, label: Any, kpis: dict[str, Any], heartbeat: Any = None
    ) -> None:
        """Take outcomes of one partition, in offset order.

        Args: `part` as for `put`; arrays [n]: `ts`, `lt` int64 ms, `id_hash` uint64, `label` float64 (1, 0, nan none),
        `kpis` name -> float64 (nan none); names that are not configured are ignored. `heartbeat` bool[n]: those that
        only prove that labels flow.
        Raises InvariantError for a logical time that T has passed.
        """
        columns = self._outcome_columns(part, ts, lt, id_hash, label, kpis)
        if heartbeat is not None:
            columns["label"][np.asarray(heartbeat, bool)] = _HEARTBEAT
        self._queue(self._outcomes, columns)

    def _queue(self, queue: Pending, columns: Columns) -> None:
        lt = columns["lt"]
        if len(lt) and int(lt.min()) < self.now:
            raise InvariantError(
                f"an event has logical time {int(lt.min())}, but the clock has reached {self.now}",
                where="join",
                cure="report it: the clock must never pass a partition that is still read",
            )
        queue.add(columns)

    def _outcome_columns(self, part: int, ts: Any, lt: Any, id_hash: Any, label: Any, kpis: dict[str, Any]) -> Columns:
        given = np.asarray(label, np.float64)
        columns: Columns = {
            "lt": np.array(lt, np.int64),
            "ts": np.array(ts, np.int64),
            "hash": np.array(id_hash, np.uint64),
            "part": np.full(len(given), part, np.uint16),
            "label": np.where(np.isnan(given), -1.0, given).astype(np.int8),
        }
        for i, name in enumerate(self.kpis):
            # + 0.0 makes -0.0 one with 0.0
            value = kpis[name] if name in kpis else np.full(len(given), np.nan)
            columns[f"value{i}"] = np.array(value, np.float64) + 0.0
        return columns

    def advance(self, now: int, leaps: Pauses = Pauses()) -> Advance:  # noqa: B008 - never changed
        """Take every act whose logical time is < `now`; `now` must not exceed T. Going back changes nothing.

        `leaps` are times that the clock of a partition of outcomes passed in one step, all those before T: nobody
        waited there for labels, so they are no time in which to give up.
        """
        parts = []
        while self.now < now:
            until = min(self._predictions.limit(now, _STRETCH), self._outcomes.limit(now, _STRETCH))
            parts.append(self._advance_to(max(until, self.now + 1), leaps))
        self.stalled_since = self._stalled()
        return Advance.join(parts) if parts else Advance()

    def _stalled(self) -> int | None:
        """End + wait of the first open cohort if only silent labels hold it."""
        if not len(self._open):
            return None
        waited = int(self._open.start[0]) + self.interval + self.wait
        return waited if max(waited, self._flow.silent[0], self._matured_at) < self.now else None

    def _advance_to(self, until: int, leaps: Pauses) -> Advance:
        parts = []
        longest = until - self.now
        # At the end of all logs nobody waits any more.
        give_up = self.give_up if until < NEVER else 0
        while self.now < until:
            began, end = self.now, min(until, self.now + longest)
            while self.now < end:
                try:
                    parts.append(self._stretch(end, leaps, give_up))
                except _Cut as cut:
                    end = cut.at
            # Where one cut was needed more will be: stretches grow again slowly, so that little work is thrown away.
            longest = 2 * (end - began)
        return Advance.join(parts)

    def _stretch(self, until: int, leaps: Pauses, give_up: int) -> Advance:
        """Do all of `self.now <= time < until`. Raises _Cut, with nothing changed, where it must be done in two."""
        given = self._outcomes.peek(until)
        if self._idle(until):
            self._end_stretch(self._done, self._recent.run(given), until)
            return Advance()
        p, read = _sorted(self._predictions.peek(until), *_IDENTITY)
        verdict, followers, duplicates = self._judge(p)
        given, beats = without_heartbeats(given)
        outcomes = self._recent.run(given)

        new = np.flatnonzero((verdict == ROW) | (verdict == DOUBT))
        rows = {name: column[new] for name, column in p.items()}
        start = rows["ts"] // self.interval * self.interval
        doubt = verdict[new] == DOUBT
        runs = [*self._recent.runs, outcomes]
        pairs = self._pairs(rows, start, runs)

        # Maturities, with every label that may count; rows in doubt are let in as it is proved that they come in time.
        cohorts, strays, first, signs = self._labelled(pairs, rows, start, doubt, runs)
        heard = np.concatenate([signs.at, beats["lt"]])
        flow = self._flow.heard(heard, np.concatenate([signs.part, beats["part"].astype(np.int64)]) // self.shards)
        end = cohorts.start + self.interval
        due = self._due(end, flow, heard, until, (leaps, give_up))
        negative = min(self._negative, signs.negative)
        recognised = np.where(end <= due.muted_to, NEVER, -NEVER if self.missing == "drop" else negative)
        # Where there is nothing yet nothing is missing.
        complete = np.maximum(cohorts.complete(), np.where(cohorts.rows > 0, recognised, -NEVER))
        home = np.searchsorted(cohorts.start, start[doubt])
        where = np.searchsorted(cohorts.start, strays.start)
        doubt_lt, doubt_label = rows["lt"][doubt], np.maximum(recognised[home], first[doubt])
        stray_label = np.maximum(recognised[where], strays.label)
        joined = np.zeros(len(home), bool)
        while True:
            at, completed = maturities(
                end,
                complete,
                due.deadline,
                max(self._matured_at, self.now),
                np.concatenate([where, home[joined]]),
                np.concatenate([strays.lt, doubt_lt[joined]]),
                np.concatenate([stray_label, doubt_label[joined]]),
            )
            more = ~joined & (at[home] >= doubt_lt)
            if not more.any():
                break
            joined |= more
        verdict[new[doubt]] = np.where(joined, ROW, LATE)
        self._settle_followers(followers, p, verdict, cohorts.start, at)

        # Nothing was changed up to here; nothing is in doubt from here on.
        acts = Advance()
        acts.late = self._tell_late(p, verdict == LATE, read)
        self.taken += len(verdict)
        self.duplicates += int(np.count_nonzero((verdict == DUPLICATE) | (verdict == FOLLOWER)))
        self.duplicates_differing += duplicates + sum(followers.differs)
        self._outliving = self._outliving.noted(p, followers.outliving, verdict, self.interval)
        accepted = np.ones(len(new), bool)
        accepted[doubt] = joined
        came_after_end = doubt[accepted]
        if len(rows["hash"]) and accepted.any():
            self._rows.add_new(rows if accepted.all() else {name: column[accepted] for name, column in rows.items()})
        pairs = self._without(pairs, accepted)
        strays = strays.with_others(
            Strays(
                start[doubt][joined],
                doubt_lt[joined],
                rows["hash"][doubt][joined],
                rows["version"][doubt][joined],
                first[doubt][joined],
            )
        )

        there = cohorts.rows > 0
        there[np.searchsorted(cohorts.start, strays.start)] = True
        unproven = due.lost | (due.gives_up & ~completed)
        waited = ~(due.gives_up | completed | due.lost)
        cohorts, at, unproven, waited = cohorts.take(there), at[there], unproven[there], waited[there]
        count = int(np.searchsorted(at, until))
        size = cohorts.rows[:count].copy()
        place = np.searchsorted(cohorts.start, strays.start)
        np.add.at(size, place[place < count], 1)
        done = self._done.then(_Done(cohorts.start[:count], at[:count], size, unproven[:count]))
        pairs, maturity, imputed, lost = self._in_time(pairs, done)
        self.matched += self._recent.matched(runs, pairs.of, pairs.outcome)
        labelled = pairs.lt[pairs.label >= 0]
        if len(labelled):
            earliest = int(labelled.min())
            self.first_label = earliest if self.first_label is None else min(self.first_label, earliest)

        before = pairs.lt <= maturity
        everything = bool(before.all())
        in_time = pairs if everything else pairs.take(before)
        acts.labelled = self._first_labels(in_time, rows["lt"][accepted])
        self._apply(in_time, runs, None)
        acts.closed = self._close(until, came_after_end)
        acts.matured = self._mature(done.take(slice(len(self._done.start), None)))
        if not everything:
            after = ~before
            acts.amended = self._apply(pairs.take(after), runs, imputed[after], lost[after])

        self._flow, self._held, self._muted_to = flow, due.held, due.muted_to
        self._oldest = max(self._oldest, int(signs.age.max(initial=0)))
        self._waited |= bool(waited[:count].any())
        self._negative = negative
        self._open = cohorts.take(slice(count, None))
        self._strays = strays.take(place >= count)
        self._end_stretch(done, outcomes, until)
        return acts

    def _idle(self, until: int) -> bool:
        """Whether nothing can happen before `until`: a model without traffic costs next to nothing."""
        waits = (self._predictions.earliest(), self._outcomes.earliest())
        return not len(self._open) and all(lt is None or lt >= until for lt in waits)

    def _end_stretch(self, done: _Done, outcomes: Run, until: int) -> None:
        self._closed_to = self._closed_by(until)
        self._expire(done, until)
        self._rows.settle()
        self._recent.settle(outcomes, until)
        self._predictions.drop(until)
        self._outcomes.drop(until)
        self.now = until

    def _closed_by(self, until: int) -> int:
        """Start of the first cohort that has not ended before `until`."""
        return -(-(until - self.interval) // self.interval) * self.interval

    def _judge(self, p: Columns) -> tuple[NDArray[np.int8], Followers, int]:
        """Verdicts on predictions, the followers among them, and how many of the certain duplicates differ."""
        verdict = np.full(len(p["hash"]), ROW, np.int8)
        if not len(verdict):
            return verdict, Followers(), 0
        span = Span(self.now, self.interval, self.amend)
        known = Followers()
        differing = 0
        needle, run, row = self._rows.find(p["hash"])
        if len(needle):
            same = self._rows.column("version", run, row) == p["version"][needle]
            needle, run, row = needle[same], run[same], row[same]
        if len(needle):
            ts = self._rows.column("ts", run, row)
            start = ts // self.interval * self.interval
            matured = start <= self._matured_to
            lt = p["lt"][needle]
            retained = span.surely_retained(start, lt)
            if matured.any():
                at = self._done.at[np.searchsorted(self._done.start, start[matured])]
                retained[matured] = lt[matured] <= at + self.amend
            differs = ts != p["ts"][needle]
            differs |= self._rows.column("score", run, row) != p["score"][needle]
            differs |= self._rows.column("kind", run, row) != p["kind"][needle]
            verdict[needle[retained]] = DUPLICATE
            known.outliving += needle[p["ts"][needle] // self.interval * self.interval > start].tolist()
            differing = int(np.count_nonzero(differs & retained))
            for i in np.flatnonzero(~retained & ~matured):
                if verdict[needle[i]] == ROW:
                    verdict[needle[i]] = FOLLOWER
                    known.add(int(needle[i]), int(start[i]), -1, bool(differs[i]))
        followers, more = within(p, verdict, self._gone(p), span)
        followers.which += known.which
        followers.start += known.start
        followers.before += known.before
        followers.differs += known.differs
        followers.outliving += known.outliving
        return verdict, followers, differing + more

    def _gone(self, p: Columns) -> NDArray[np.bool_]:
        """Whether the cohort of each prediction had matured, or counts as matured, before the stretch."""
        gone = np.zeros(len(p["ts"]), bool)
        after = np.flatnonzero(p["lt"] > p["ts"])
        if len(after):
            start = p["ts"][after] // self.interval * self.interval
            first = int(self._open.start[0]) if len(self._open) else NEVER
            empty = (start < first) & (start + self.interval < self.now)
            gone[after] = (start <= self._matured_to) | empty
        return gone

    def _settle_followers(
        self, followers: Followers, p: Columns, verdict: NDArray[np.int8], starts: I64, at: I64
    ) -> None:
        """Make sure that each follower is a duplicate, or cut the stretch before the first that is not."""
        cut = NEVER
        for which, start, before in zip(followers.which, followers.start, followers.before, strict=True):
            lt = int(p["lt"][which])
            exists = before < 0 or verdict[before] == ROW
            if not exists or int(at[np.searchsorted(starts, start)]) + self.amend < lt:
                cut = min(cut, lt)
        if cut < NEVER:
            raise _Cut(cut)

    def _pairs(self, rows: Columns, start: I64, runs: list[Run]) -> _Pairs:
        """All outcomes of the stretch with the rows they meet, and all recent ones with the new rows they meet."""
        outcomes = runs[-1]
        needle, run, row = self._rows.find(outcomes.fixed["hash"])
        ts = self._rows.column("ts", run, row)
        old = ts // self.interval * self.interval
        fresh, of, outcome = search(runs, rows["hash"])
        if len(fresh):
            in_time = rows["lt"][fresh] <= Recent.column(runs, "lt", of, outcome) + self.early
            fresh, of, outcome = fresh[in_time], of[in_time], outcome[in_time]
        all_of = np.concatenate([np.full(len(needle), len(runs) - 1, np.int64), of])
        all_outcome = np.concatenate([needle, outcome])
        all_run = np.concatenate([run, np.full(len(fresh), len(self._rows.runs), np.int64)])
        all_row = np.concatenate([row, fresh])
        lt = Recent.column(runs, "lt", all_of, all_outcome)
        label = Recent.column(runs, "label", all_of, all_outcome)
        pairs = _Pairs(all_run, all_row, np.concatenate([old, start[fresh]]), all_of, all_outcome, lt, label)
        part = Recent.column(runs, "part", all_of, all_outcome)
        return pairs.take(order_by((all_run << 32) | all_row, lt, part, all_outcome))

    def _labelled(
        self, pairs: _Pairs, rows: Columns, start: I64, doubt: NDArray[np.bool_], runs: list[Run]
    ) -> tuple[Open, Strays, I64, _Signs]:
        """Open cohorts with the new rows and all first labels, strays likewise, and the new rows' first labels' times.

        Rows in doubt are in no cohort yet, but their cohorts are there. Also the signs of flow among the labels.
        """
        cohorts = self._open.extended(distinct(start))
        place = np.searchsorted(cohorts.start, start[~doubt])
        cohorts.rows += np.bincount(place, minlength=len(cohorts))
        strays = replace(self._strays, label=self._strays.label.copy())
        first = np.full(len(start), NEVER, np.int64)
        pairs = pairs.take((pairs.label >= 0) & (pairs.start > self._matured_to))
        if not len(pairs):
            return cohorts, strays, first, _Signs.none()
        head = np.ones(len(pairs), bool)
        head[1:] = (pairs.row[1:] != pairs.row[:-1]) | (pairs.run[1:] != pairs.run[:-1])
        pairs = pairs.take(head)
        fresh = pairs.run == len(self._rows.runs)
        first[pairs.row[fresh]] = pairs.lt[fresh]
        counted = np.ones(len(pairs), bool)
        counted[fresh] = ~doubt[pairs.row[fresh]]
        known = pairs.lt.copy()
        # An outcome may come before its prediction.
        known[fresh] = np.maximum(known[fresh], rows["lt"][pairs.row[fresh]])
        old = np.flatnonzero(~fresh)
        if len(old):
            run, row = pairs.run[old], pairs.row[old]
            unlabelled = self._rows.column("label", run, row) < 0
            counted[old] = unlabelled
            if len(strays):
                old, run, row = old[unlabelled], run[unlabelled], row[unlabelled]
                which = strays.find(
                    self._rows.column("hash", run, row), self._rows.column("version", run, row), pairs.start[old]
                )
                stray = which >= 0
                strays.label[which[stray]] = pairs.lt[old[stray]]
                counted[old[stray]] = False
        pairs, known = pairs.take(counted), known[counted]
        place = np.searchsorted(cohorts.start, pairs.start)
        cohorts.labelled += np.bincount(place, minlength=len(cohorts))
        np.maximum.at(cohorts.last, place, pairs.lt)
        age = known - pairs.start - self.interval
        timely = age <= self.wait
        part = Recent.column(runs, "part", pairs.of[timely], pairs.outcome[timely]).astype(np.int64)
        negative = int(known[pairs.label == 0].min(initial=NEVER))
        return cohorts, strays, first, _Signs(known[timely], part, age[timely], negative)

    def _due(self, end: I64, flow: LabelFlow, heard: I64, until: int, patience: tuple[Pauses, int]) -> _Due:
        """What becomes of the cohorts that end at int64[c] and are not complete before.

        Each decision is taken at its own time, with what is known then: the stretch is cut there.
        """
        if flow.next_end(self.now) < until:
            raise _Cut(flow.next_end(self.now))
        pauses = flow.pauses()
        none = np.zeros((2, len(end)), bool)
        due = _Due(end, np.minimum(pauses.after(end, self.wait), NEVER), none[0], none[1], self._held, self._muted_to)
        ended = np.flatnonzero(pauses.end == self.now)
        if len(ended):
            begin = int(pauses.begin[ended[0]])
            self._flows_again(due, begin, flow.last_before(begin, self.now))
        if due.held != _NOT_HELD:
            judged = int(pauses.after(np.array([due.held[1]]), self.wait)[0])
            if self.now < judged < until:
                raise _Cut(judged)
            if judged < until:
                self._judge_held(due)
            else:
                held = end <= due.held[1]
                due.deadline[held] = np.maximum(due.deadline[held], judged)
        silent, last = flow.silent
        leaps, give_up = patience
        gone = np.maximum(leaps.after(end, self.wait + give_up), leaps.after(np.array([silent]), give_up))
        self._give_up(due, gone, last, heard, until)
        return due

    def _flows_again(self, due: _Due, begin: int, last: int) -> None:
        """A pause ends just now: should labels have come in it?"""
        end = self._open.start + self.interval
        rows = int(self._open.rows[(end > begin) & (end <= self.now)].sum())
        muted = due.muted_to == NEVER
        if muted or not self._share.known or self._share.expects(rows):
            due.held = (last if due.held == _NOT_HELD else due.held[0], self.now)
        if muted:
            due.muted_to = self.now

    def _judge_held(self, due: _Due) -> None:
        """Labels have flowed for long enough: those that have not come are lost."""
        last, to = due.held
        held = self._open.start + self.interval <= to
        share = self._share
        if not share.known:
            share = LabelledShare(int(self._open.rows[~held].sum()), int(self._open.labelled[~held].sum()))
        due.deadline[due.end <= to] = self.now
        if lost(self._open.rows[held], self._open.labelled[held], share):
            due.lost = (due.end <= to) & (due.end > last - (self._oldest if self._waited else self.wait))
        due.held, due.muted_to = _NOT_HELD, -NEVER

    def _give_up(self, due: _Due, gone: I64, last: int, heard: I64, until: int) -> None:
        """Let cohorts go at `gone`, int64[c], that labels do not come for while they are silent."""
        waits = due.deadline < NEVER
        due.deadline = np.where(waits, due.deadline, gone)
        due.gives_up = ~waits
        over = np.flatnonzero(~waits & (gone < until))
        if due.muted_to == NEVER or not len(over):
            return
        # All labels that ever came had come by this age.
        due.gives_up &= ~((last - due.end >= self._oldest) & (due.end > due.held[1]) & self._waited)
        if gone[over[0]] > self.now:
            raise _Cut(int(gone[over[0]]))
        later = heard[(heard >= self.now) & (heard < until - 1)]
        if len(later):
            raise _Cut(int(later.min()) + 1)
        leaving = over[due.gives_up[over]]
        if len(leaving):
            if gone[leaving[0]] > self.now:
                raise _Cut(int(gone[leaving[0]]))
            due.muted_to = NEVER
            due.gives_up |= ~waits & (gone > self.now)

    def _tell_late(self, p: Columns, late: NDArray[np.bool_], read: I64) -> Late:
        if not late.any():
            return Late()
        which = np.flatnonzero(late)
        which = which[np.lexsort((read[which], p["part"][which], p["lt"][which]))]
        self.late += len(which)
        part = p["part"][which].astype(np.int32)
        return Late(p["lt"][which], part, p["ts"][which], p["kind"][which], p["offset"][which])

    def _without(self, pairs: _Pairs, accepted: NDArray[np.bool_]) -> _Pairs:
        """Leave out the pairs of new rows that were not accepted; the others' rows become positions in the new run."""
        if accepted.all():
            return pairs
        fresh = pairs.run == len(self._rows.runs) - bool(accepted.any())
        keep = np.ones(len(pairs), bool)
        keep[fresh] = accepted[pairs.row[fresh]]
        pairs.row[fresh] = (np.cumsum(accepted) - 1)[pairs.row[fresh]]
        return pairs.take(keep)

    def _in_time(self, pairs: _Pairs, done: _Done) -> tuple[_Pairs, I64, NDArray[np.bool_], NDArray[np.bool_]]:
        """The pairs whose row is retained when the outcome comes.

        Also their rows' maturity (NEVER if open), whether a missing label was taken for a negative there, and whether
        the row is unproven.
        """
        maturity = np.full(len(pairs), NEVER, np.int64)
        imputed, unproven = np.zeros((2, len(pairs)), bool)
        if len(done.start):
            matured = np.flatnonzero(pairs.start <= done.start[-1])
            at = np.searchsorted(done.start, pairs.start[matured])
            maturity[matured] = done.at[at]
            unproven[matured] = done.unproven[at]
            imputed[matured] = ~done.unproven[at] & (self.missing == "negative")
        keep = pairs.lt <= maturity + self.amend
        if keep.all():
            return pairs, maturity, imputed, unproven
        return pairs.take(keep), maturity[keep], imputed[keep], unproven[keep]

    def _first_labels(self, pairs: _Pairs, joined: I64) -> Labelled:
        """The first labels among outcomes that come in time; `joined` int64[rows of this stretch] is when each came."""
        pairs = pairs.take(pairs.label >= 0)
        if not len(pairs):
            return Labelled()
        head = np.ones(len(pairs), bool)
        head[1:] = (pairs.row[1:] != pairs.row[:-1]) | (pairs.run[1:] != pairs.run[:-1])
        head &= self._rows.column("label", pairs.run, pairs.row) < 0
        pairs = pairs.take(head)
        at = pairs.lt
        if len(joined):
            # An outcome may come before its prediction.
            fresh = pairs.run == len(self._rows.runs) - 1
            at[fresh] = np.maximum(at[fresh], joined[pairs.row[fresh]])
        order = np.argsort(at, kind="stable")
        run, row = pairs.run[order], pairs.row[order]
        return Labelled(
            at[order],
            pairs.start[order],
            self._rows.column("ts", run, row),
            self._rows.column("kind", run, row),
            pairs.label[order],
        )

    def _apply(
        self,
        pairs: _Pairs,
        runs: list[Run],
        imputed: NDArray[np.bool_] | None,
        unproven: NDArray[np.bool_] | None = None,
    ) -> Amendments:
        """Let outcomes change their rows. With `imputed` they are amendments, and what changed is returned.

        Rows that are `unproven` stay out of all that is counted, whatever comes.
        """
        if not len(pairs):
            return Amendments()
        label = pairs.label.astype(np.float64)
        label[label < 0] = np.nan
        ts = Recent.column(runs, "ts", pairs.of, pairs.outcome)
        values = [Recent.column(runs, f"value{i}", pairs.of, pairs.outcome) for i in range(len(self.kpis))]
        before, after = self._rows.apply(pairs.run, pairs.row, (label, ts), values)
        if imputed is not None:
            for side in (before, after):
                side[0] = np.where(np.isnan(side[0]) & imputed, 0.0, side[0])
        changed = np.zeros(len(pairs), bool)
        replaced = np.zeros(len(pairs), bool)
        for old, new in zip(before, after, strict=True):
            differs = (old != new) & ~np.isnan(new)
            changed |= differs
            replaced |= differs & ~np.isnan(old)
        self.repeated += int(np.count_nonzero(~changed))
        self.amended += int(np.count_nonzero(replaced if imputed is None else changed))
        if imputed is None or unproven is None:
            return Amendments()
        which = np.flatnonzero(changed & ~unproven)
        if not len(which):
            return Amendments()
        rows = self._rows
        run, row = pairs.run[which], pairs.row[which]
        ts, hashes, kind = (rows.column(name, run, row) for name in ("ts", "hash", "kind"))
        part = Recent.column(runs, "part", pairs.of[which], pairs.outcome[which])
        order = np.lexsort((pairs.outcome[which], part, kind, hashes, ts, pairs.lt[which]))
        which, run, row = which[order], run[order], row[order]
        return Amendments(
            at=pairs.lt[which],
            start=pairs.start[which],
            ts=ts[order],
            id_hash=hashes[order],
            score=rows.column("score", run, row),
            kind=kind[order],
            old_label=_codes(before[0][which]),
            new_label=_codes(after[0][which]),
            old_kpis={name: before[1 + i][which] for i, name in enumerate(self.kpis)},
            new_kpis={name: after[1 + i][which] for i, name in enumerate(self.kpis)},
            tags=[rows.column(name, run, row) for name in rows.tags],
        )

    def _close(self, until: int, came_after_end: NDArray[np.bool_]) -> Cohorts:
        """Cohorts that ended in the stretch, with the rows there by the end, without outcomes."""
        but = came_after_end if came_after_end.any() else None
        columns = self._rows.cohorts(self._closed_to, self._closed_by(until) - self.interval, but)
        if not len(columns["ts"]):
            return Cohorts()
        start, bounds = self._bounds(columns["ts"])
        return Cohorts(
            start,
            start + self.interval,
            bounds,
            columns["ts"],
            columns["hash"],
            columns["score"],
            columns["kind"],
            np.full(len(columns["ts"]), -1, np.int8),
            {name: np.full(len(columns["ts"]), np.nan) for name in self.kpis},
            [columns[name] for name in self._rows.tags],
        )

    def _mature(self, done: _Done) -> Cohorts:
        """The cohorts that matured in the stretch, with what their rows held then."""
        if not len(done.start):
            return Cohorts()
        self._matured_to, self._matured_at = int(done.start[-1]), int(done.at[-1])
        columns = self._rows.cohorts(int(done.start[0]), self._matured_to)
        start, bounds = self._bounds(columns["ts"])
        label = columns["label"].copy()
        sizes = np.diff(bounds)
        proven = ~done.unproven
        self._share.count(sizes[proven], np.add.reduceat(label >= 0, bounds[:-1], dtype=np.int64)[proven])
        label[np.repeat(done.unproven, sizes)] = -1
        missing = label < 0
        self.unlabelled += int(np.count_nonzero(missing))
        self.unproven += int(sizes[done.unproven].sum())
        if self.missing == "negative":
            label[missing & np.repeat(proven, sizes)] = 0
        return Cohorts(
            start,
            done.at,
            bounds,
            columns["ts"],
            columns["hash"],
            columns["score"],
            columns["kind"],
            label,
            {name: columns[f"value{i}"] for i, name in enumerate(self.kpis)},
            [columns[name] for name in self._rows.tags],
            done.unproven,
        )

    def _bounds(self, ts: I64) -> tuple[I64, I64]:
        number = ts // self.interval
        first = np.flatnonzero(np.concatenate([[True], number[1:] != number[:-1]]))
        return number[first] * self.interval, np.append(first, len(ts))

    def _expire(self, done: _Done, until: int) -> None:
        """Let cohorts go whose time for amendments has passed."""
        count = int(np.searchsorted(done.at, until - self.amend))
        if len(self._open):
            self._flow.forget(int(self._open.start[0]) + self.interval)
        if count:
            self._rows.floor = int(done.start[count - 1])
            self._outliving = self._outliving.after(self._rows.floor)
            self.expired += int(done.rows[:count].sum())
        self._done = done.take(slice(count, None)) if count else done

    def export(self, known: set[str]) -> tuple[dict[str, Any], dict[str, Column]]:
        """State as `(meta, blobs)`: `meta` is plain and names its blobs; `blobs` are those that `known` lacks.

        A name stands for the same bytes for the life of a join. After a restore, names that the restored `meta`
        does not refer to may be used again, so `known` must hold only names that a kept `meta` refers to.
        """
        blobs: dict[str, Column] = {}
        meta: dict[str, Any] = {
            **self._facts(),
            "predictions": self._predictions.export("predictions", known, blobs),
            "outcomes": self._outcomes.export("outcomes", known, blobs),
            "rows": self._rows.export(known, blobs),
            "recent": self._recent.export(known, blobs),
        }
        return meta, blobs

    def core(self) -> dict[str, Any]:
        """State as `export` gives it, but without any event: what `Regrowth` needs besides the logs."""
        return {
            **self._facts(),
            "predictions": {"uid": 0, "chunks": []},
            "outcomes": {"uid": 0, "chunks": []},
            "rows": {"uid": 0, "floor": self._rows.floor, "runs": []},
            "recent": {"uid": 0, "now": self._recent.now, "orphans": self.orphans, "runs": []},
        }

    def _facts(self) -> dict[str, Any]:
        """What is known of the cohorts, and the counters."""
        return {
            "schema": SCHEMA,
            "settings": self._settings(),
            "now": self.now,
            "first_label": self.first_label,
            "stalled_since": self.stalled_since,
            "counters": {name: getattr(self, name) for name in _COUNTERS},
            "open": _fields(self._open),
            "strays": _fields(self._strays),
            "done": _fields(self._done),
            "outliving": _fields(self._outliving),
            "matured": [self._matured_to, self._matured_at, self._closed_to],
            "flow": self._flow.state(),
            "share": self._share.state(),
            "held": [*self._held, self._muted_to],
            "known": [self._oldest, self._negative, self._waited],
        }

    @property
    def reaches_back(self) -> tuple[int, int]:
        """Logical times before which no prediction, and no outcome, is held: all earlier ones have had their effect."""
        oldest = min([self.now, *(int(table.start[0]) for table in (self._open, self._done) if len(table.start))])
        return oldest, oldest - self.early

    @staticmethod
    def blobs_of(meta: dict[str, Any]) -> list[str]:
        """The names of all blobs that an exported `meta` refers to."""
        names = [chunk[1] for queue in ("predictions", "outcomes") for chunk in meta[queue]["chunks"]]
        for run in (*meta["rows"]["runs"], *meta["recent"]["runs"]):
            names.append(run["fixed"][0])
            if run["live"] is not None:
                names.append(run["live"][0])
            names += [journal[0] for journal in run["journals"]]
        return names

    def _settings(self) -> dict[str, Any]:
        names = ("interval", "wait", "amend", "early", "give_up", "missing", "shards", "tags")
        return {**{name: getattr(self, name) for name in names}, "kpis": list(self.kpis)}

    @classmethod
    def restore(cls, meta: dict[str, Any], load: Load) -> Self:
        """The join that `export` described; `load` gives a blob's bytes by name.

        Raises StateVersionError for another schema.
        """
        if meta["schema"] != SCHEMA:
            raise StateVersionError(
                f"the join's state has schema {meta['schema']}, this release reads {SCHEMA}",
                where="join",
                cure="run the release that wrote it, or rebuild the state from the logs",
            )
        settings = dict(meta["settings"])
        settings["kpis"] = tuple(settings["kpis"])
        join = cls(**settings)
        join.now, join.first_label, join.stalled_since = meta["now"], meta["first_label"], meta["stalled_since"]
        for name, value in meta["counters"].items():
            setattr(join, name, value)
        join._predictions.restore(meta["predictions"], load)
        join._outcomes.restore(meta["outcomes"], load)
        join._rows.restore(meta["rows"], load)
        join._recent.restore(meta["recent"], load)
        join._open = Open(**meta["open"])
        join._strays = Strays(**meta["strays"])
        join._done = _Done(**meta["done"])
        join._outliving = Outliving(**meta["outliving"])
        join._matured_to, join._matured_at, join._closed_to = meta["matured"]
        join._flow.restore(meta["flow"])
        join._share.restore(meta["share"])
        last, held_to, join._muted_to = meta["held"]
        join._held = last, held_to
        join._oldest, join._negative, join._waited = meta["known"]
        return join


def _predictions(
    part: int, ts: Any, lt: Any, id_hash: Any, score: Any, kind: Any, version: Any, offset: Any, tags: Sequence[Any]
) -> Columns:
    columns: Columns = {
        "lt": np.array(lt, np.int64),
        "ts": np.array(ts, np.int64),
        "hash": np.array(id_hash, np.uint64),
        "score": np.array(score, np.float64),
        "kind": np.array(kind, np.int32),
        "version": np.array(version, np.int16),
    }
    columns["part"] = np.full(len(columns["lt"]), part, np.uint16)
    columns["offset"] = np.zeros(len(columns["lt"]), np.int64) if offset is None else np.array(offset, np.int64)
    columns |= {f"tag{i}": smallest(np.asarray(tag)) for i, tag in enumerate(tags)}
    return columns


def without_heartbeats(outcomes: Columns) -> tuple[Columns, Columns]:
    """Outcomes, and the heartbeats that were among them."""
    beats = outcomes["label"] == _HEARTBEAT
    if not beats.any():
        return outcomes, {name: column[:0] for name, column in outcomes.items()}
    return tuple({name: column[which] for name, column in outcomes.items()} for which in (~beats, beats))  # type: ignore[return-value]


def _sorted(columns: Columns, *keys: str) -> tuple[Columns, I64]:
    """Columns by the keys, then as read; and where each row stood."""
    order = order_by(*(columns[key] for key in keys))
    return {name: column[order] for name, column in columns.items()}, order


def by_identity(predictions: Columns) -> Columns:
    """The columns of predictions by identity, those of one identity in log order."""
    return _sorted(predictions, *_IDENTITY)[0]


def _codes(values: NDArray[np.float64]) -> NDArray[np.int8]:
    return np.where(np.isnan(values), -1.0, values).astype(np.int8)


def _fields(table: Any) -> dict[str, Column]:
    return {name: getattr(table, name) for name in table.__slots__}
