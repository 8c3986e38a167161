"""A subscription: a thread that keeps the view of what is in force up to date, and questions that any thread may ask.

Invariants:

- A question reads one reference to an immutable view: no lock, no IO, no waiting.
- The first view is complete: the logs were read to their end. From then on the view follows them in order.
- No failure of a log, of a record or of a callback ends the thread; what was last read stays in force, and `healthy`,
  `age` and `problem` say how far it can be trusted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Self

from streameval import records
from streameval.errors import ConfigError, InputError, StreamevalError, TopicError, TransportError
from streameval.subscribe.in_force import Calibration, Cell, Change, Threshold
from streameval.subscribe.log import Entry, OutputLog
from streameval.subscribe.view import EMPTY, Key, Kind, Questions, View

__all__ = ["Subscription"]

# The standard library's log, because this runs in other people's services; the names of events stay constant words.
_log = logging.getLogger("streameval.subscribe")

_STALE: Final = 15.0  # seconds beyond `every` without a look to the end after which a subscription is not healthy
_FIRST_PAUSE: Final = 0.2  # seconds before another attempt to read; doubled each time
_LONGEST_PAUSE: Final = 5.0
_LEAVE: Final = 2.0  # seconds that `close` waits for the thread, which is a daemon and ends by itself


class Subscription(Questions):
    """The thresholds and calibration maps in force; made by `streameval.subscribe.thresholds`.

    Args:
        log: what is read; from now on by the subscription's thread only.
        every: seconds between two looks at the logs.
        on_change: called in the thread after a change is visible, not for the first view; keep it quick.
    """

    def __init__(self, log: OutputLog, *, every: float = 1.0, on_change: Callable[[Change], Any] | None = None) -> None:
        self._log = log
        self._every = every
        self._on_change = on_change
        self._view = EMPTY
        self._problem: str | None = None
        self._refused: ConfigError | None = None
        self._looked: float | None = None
        self._settled = threading.Event()  # loaded once, or it never will be
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streameval-subscribe", daemon=True)
        self._thread.start()

    @property
    def view(self) -> View:
        """Everything in force now; it does not change while it is held, so several questions fit together."""
        return self._view

    @property
    def ready(self) -> bool:
        """Whether the logs were read to their end once; until then nothing is in force but defaults."""
        return self._looked is not None

    @property
    def age(self) -> float | None:
        """Seconds since the logs were last read to their end; None before the first time."""
        looked = self._looked
        return None if looked is None else time.monotonic() - looked

    @property
    def problem(self) -> str | None:
        """Why the logs cannot be read at the moment, for people; None while they can."""
        return self._problem

    @property
    def healthy(self) -> bool:
        """Whether the view follows the logs: the last look reached their end, and was not long ago.

        False also in a process that was forked after it subscribed: threads do not survive that. Subscribe afterwards.
        """
        age = self.age
        return self._problem is None and age is not None and age < self._every + _STALE

    def wait(self, timeout: float) -> None:
        """Wait until the logs were read to their end for the first time.

        Args:
            timeout: seconds.

        Raises:
            ConfigError: they can never be read with this configuration.
            TransportError: they were not read in time; the message says what stands in the way.
        """
        self._settled.wait(timeout)
        if self._refused is not None:
            raise self._refused
        if not self.ready:
            raise TransportError(
                f"thresholds and calibration maps were not read to their end within {timeout:g} s: "
                f"{self._problem or 'still reading'}",
                where="subscribe",
                cure='check the address, give a longer timeout, or go on without them by unready="default"',
            )

    def close(self) -> None:
        """Stop following. Questions are still answered, from what was last read."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_LEAVE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        try:
            while not self._stop.is_set():
                try:
                    self._load()
                    pause = _FIRST_PAUSE
                    self._follow()
                except ConfigError as error:
                    if not self.ready:
                        self._refused = error
                        return
                    self._lost(str(error))
                except (StreamevalError, OSError) as error:
                    self._lost(str(error))
                except Exception as error:  # noqa: BLE001 - a thread's edge: its end would go unnoticed
                    self._lost(f"{type(error).__name__}: {error}")
                    _log.exception("subscription_failed")
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            self._settled.set()
            self._log.close()

    def _load(self) -> None:
        """Read everything anew; what the logs do not have any more is no longer in force."""
        there: set[tuple[Kind, tuple[str, ...]]] = set()
        read: dict[Key, Threshold | Calibration | None] = {}
        for entry in self._log.load():
            there.add((entry.kind, records.parts_of(entry.key)))
            # All are read and not only the last of each key, so that what cannot be read leaves the one before it.
            read.update(self._read([entry]))
            if self._stop.is_set():
                return
        held = self._view.held()
        for kind in {kind for kind, _ in held} - {kind for kind, _ in there}:
            # A log made anew and not yet filled, or emptied by mistake, must not put a service back to its defaults.
            raise TopicError(
                "the log had records and is empty; what was last read stays in force",
                where=f"topic of {kind.TYPE}",
                cure="start streameval so that it publishes again, or subscribe anew",
            )
        gone = {key: None for key in held if key not in there}
        self._show({**gone, **read}, silent=not self.ready)
        self._found()
        self._settled.set()

    def _follow(self) -> None:
        """Look at the logs now and then, until they are others than those that were loaded."""
        while not self._stop.wait(self._every) and not self._log.outdated():
            news: list[Entry] = []
            try:
                news.extend(self._log.news())
            finally:
                # What came before a failure was published and is in order: it counts.
                self._show(self._read(news))
            self._found()

    def _read(self, entries: Iterable[Entry]) -> dict[Key, Threshold | Calibration | None]:
        changes: dict[Key, Threshold | Calibration | None] = {}
        for entry in entries:
            try:
                key, value = _value(entry)
            except InputError as error:
                # One that cannot be read (a newer release's, somebody else's) leaves what is in force.
                _log.warning("record_unreadable at %s: %s", entry.place, error)
            else:
                changes[key] = value
        return changes

    def _show(self, changes: dict[Key, Threshold | Calibration | None], *, silent: bool = False) -> None:
        """Make changes visible, then tell of them."""
        before = self._view
        real = {key: value for key, value in changes.items() if not _same(before.get(key), value)}
        if not real:
            return
        self._view = before.updated(real)
        if silent or self._on_change is None:
            return
        for key, value in real.items():
            try:
                self._on_change(Change(key[1], before.get(key), value))
            except Exception:  # noqa: BLE001 - somebody else's code must not stop the following
                _log.exception("callback_failed for %s", records.key_of(*key[1]))

    def _found(self) -> None:
        self._looked = time.monotonic()
        if self._problem is not None:
            self._problem = None
            _log.warning("subscription_restored")

    def _lost(self, problem: str) -> None:
        if self._problem is None:
            _log.warning("subscription_lost: %s", problem)
        self._problem = problem


def _same(before: Threshold | Calibration | None, after: Threshold | Calibration | None) -> bool:
    """Whether both are the same record, read twice; the data too, as somebody may have corrected a log by hand."""
    if before is None or after is None:
        return before is after
    return before.record_id == after.record_id and before.record == after.record


def _value(entry: Entry) -> tuple[Key, Threshold | Calibration | None]:
    """Key and value that a record sets; None as value if it withdraws.

    Raises:
        InputError: it is no record of the kind that belongs there.
    """
    cure = "nobody else may write to this topic"
    parts = records.parts_of(entry.key)
    if entry.value is None:
        if len(parts) != len(Cell._fields):
            raise InputError(f"{entry.key!r} is no model/version/segment", where="key of a tombstone", cure=cure)
        return (entry.kind, Cell(*parts)), None
    event = records.read(entry.value)
    if event.type != entry.kind.TYPE:
        raise InputError(f"a {event.type} where a {entry.kind.TYPE} belongs", where=event.subject, cure=cure)
    made = entry.kind.of(event, time.time())
    # Compaction, and tombstones, go by the key: a record that lies under another's key would be mistaken for it.
    if made.cell is None or made.cell != parts:
        raise InputError(f"a record of {made.cell} under the key {entry.key!r}", where=event.subject, cure=cure)
    return (entry.kind, made.cell), made
