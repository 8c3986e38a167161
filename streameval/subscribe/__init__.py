r"""The thresholds and calibration maps in force, for the service that applies them.

In three lines::

    from streameval import subscribe

    with subscribe.thresholds("kafka://kafka-0:9092") as current:
        flagged = current.decide("fraud", score, version="3", segment="country=DE", default=0.5)

`thresholds` reads the two compacted topics to their end before it returns, and follows them in a thread of its own from
then on. Questions are answered from memory and from any thread, without a lock. Where a segment has nothing of its own,
what holds for all predictions answers; where that is missing too, the default. The same over a directory of logs:

>>> import pathlib, tempfile
>>> from streameval import records, subscribe
>>> folder = tempfile.TemporaryDirectory()
>>> topic = pathlib.Path(folder.name, "thresholds")
>>> topic.mkdir()
>>> said = records.Threshold(
...     model="fraud", version="3", segment="*", threshold=0.31, threshold_calibrated=None, previous=0.5,
...     objective={"kind": "cost", "fp": 1.0, "fn": 10.0}, expected_gain=None, reason="gain", prevalence=None,
...     calibration=None, window=None,
... )
>>> record = records.cloudevent(
...     said, worker="w", lineage="1", key=records.key_of("fraud", "3", "*"), sequence=0, time=1_700_000_000_000
... )
>>> _ = (topic / "0.jsonl").write_bytes(record + b"\n")
>>> with subscribe.thresholds(f"logdir:{folder.name}") as current:
...     found = current.threshold("fraud", version="3", segment="country=DE", default=0.5)
...     missing = current.threshold("churn", default=0.4)
...     flagged = current.decide("fraud", [0.2, 0.4], version="3", default=0.5)
>>> (found.value, found.source), (missing.value, missing.source), flagged
((0.31, 'whole'), (0.4, 'default'), array([False,  True]))
>>> found.record.objective["fn"], found.age > 0, current.calibrate("fraud", 0.25)
(10.0, True, 0.25)
>>> folder.cleanup()

What can be asked (`Subscription`, and `Subscription.view` for several questions about one moment):

- ``threshold(model, version=, segment=, any_version=, default=)``: a `Threshold` with ``value``, ``source``
  (``segment``, ``whole``, ``default``), ``version``, ``age``, ``received_age``, ``record_id`` and the whole ``record``;
- ``calibration(...)``: a `Calibration`, which is a function of scores; ``calibrate(model, scores, ...)`` applies it;
- ``decide(model, scores, default=, ...)``: whether the model's own scores reach the threshold;
- ``healthy``, ``age`` (seconds since the logs were last read to their end) and ``problem`` (why they cannot be).

While the broker is away, what was last read stays in force and ``healthy`` is false; reading goes on by itself when it
is back. A tombstone withdraws a record. A topic that is not there yet is empty; one that vanishes is a problem and
changes nothing, and neither does one that is made anew until it has records. Needs Read and Describe on the two topics,
and nothing of the daemon's. A process that forks subscribes afterwards. What goes wrong is said once by the logger
``streameval.subscribe``; kafka-python's own, ``kafka``, says it many times while a broker is away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from streameval import config
from streameval.errors import TransportError
from streameval.subscribe.in_force import Calibration, Cell, Change, Threshold
from streameval.subscribe.origin import Origin, log_of
from streameval.subscribe.subscription import Subscription
from streameval.subscribe.view import View

__all__ = ["Calibration", "Cell", "Change", "Origin", "Subscription", "Threshold", "View", "thresholds"]


def thresholds(
    origin: Origin,
    *,
    on_change: Callable[[Change], Any] | None = None,
    timeout: float = 30.0,
    unready: Literal["raise", "default"] = "raise",
    every: float = 1.0,
    topics: Mapping[str, str] | None = None,
    security: config.Security | None = None,
) -> Subscription:
    """Subscribe to the thresholds and calibration maps in force; use it in a ``with``, or close it.

    Args:
        origin: ``kafka://host:9092,host2:9092``, ``logdir:PATH``, the path of the daemon's configuration file (or of
            one with the same ``transport`` and ``topics``), or a `streameval.config` object.
        on_change: called with a `Change` after each one is visible, in the subscription's thread; an exception of it
            is logged and nothing more.
        timeout: seconds that reading the topics to their end may take.
        unready: what happens beyond them: ``"raise"``, or ``"default"``: go on with defaults while it tries further.
        every: seconds between two looks at the topics.
        topics: other names of the topics ``thresholds`` and ``calibration``.
        security: how to speak to the brokers, with ``kafka://``; secrets as in the configuration, by
            ``{"env": NAME}`` or ``{"file": PATH}``.

    Raises:
        ConfigError: the address, the file or a credential is wrong.
        TransportError: the topics were not read in time; the message says what stands in the way.
    """
    subscription = Subscription(
        log_of(origin, security=security, topics=topics or {}), every=every, on_change=on_change
    )
    try:
        subscription.wait(timeout)
    except BaseException as error:
        if unready == "raise" or not isinstance(error, TransportError):
            subscription.close()
            raise
    return subscription
