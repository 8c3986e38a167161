"""How a worker and its models stand, as plain values for scripts: `/snapshot.json`, and `streameval inspect --json`."""

from __future__ import annotations

from typing import Any

import msgspec

from streameval.records import rfc3339
from streameval.serve.probes import Verdict
from streameval.serve.prometheus import About
from streameval.serve.series import Estimate, Series
from streameval.serve.snapshot import Snapshot
from streameval.serve.vitals import Vitals

__all__ = ["model_standing", "worker_standing"]


def model_standing(snapshot: Snapshot, series: Series) -> dict[str, Any]:
    """One key: its state, and in a sentence."""
    last = series.history.last
    return {
        "model": series.key.model,
        "version": series.key.version,
        "segment": series.key.segment,
        "state": snapshot.state(series.key),
        "phase": None if last is None else last.phase,
        "threshold": series.threshold,
        "events": None if last is None else last.window.events,
        "sentence": snapshot.sentence(series.key),
    }


def worker_standing(
    about: About, snapshot: Snapshot, vitals: Vitals | None, live: Verdict, ready: Verdict
) -> dict[str, Any]:
    """The worker with all its keys, their last metrics included."""
    told: dict[str, Any] = {
        **msgspec.structs.asdict(about),
        "live": live._asdict(),
        "ready": ready._asdict(),
        "time": None,
        "lag": None,
        "waiting": None,
        "last_commit": None,
    }
    if vitals is not None:
        told["time"] = None if vitals.time is None else rfc3339(vitals.time)
        told["last_commit"] = None if vitals.committed is None else rfc3339(round(vitals.committed * 1000))
        told |= {"lag": vitals.lag, "waiting": vitals.waiting}
    told["models"] = [model_standing(snapshot, series) | _numbers(series) for series in snapshot.series]
    return told


def _numbers(series: Series) -> dict[str, Any]:
    last = series.history.last
    metrics = {} if last is None else {name: _plain(estimate) for name, estimate in last.metrics.items()}
    shares = {} if last is None else {"labelled": _plain(last.labelled), "label_free": _plain(last.label_free)}
    return {"metrics": metrics, "prevalence": shares, "calibration": series.maps[-1].method if series.maps else None}


def _plain(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else msgspec.structs.asdict(estimate)
