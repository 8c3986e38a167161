"""Output records of a run as a worker would publish them: the life of a model that learns, drifts, and is mended."""

import datetime as dt
import math
import random

import msgspec

from streameval.records import RECORDS, cloudevent, epoch_ms, key_of

START = dt.datetime(1996, 7, 2, tzinfo=dt.UTC)
WEEK = dt.timedelta(days=7)


def rfc(at):
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record(kind, at, data, sequence=0):
    """The record as it stands on its topic: `data` must have the published shape."""
    struct = msgspec.convert(data, RECORDS[f"streameval.{kind}"])
    key = key_of(*(data[part] for part in ("model", "version", "segment"))) if "model" in data else "predictions/0"
    time = epoch_ms(rfc(at))
    made = cloudevent(struct, worker="streameval", lineage="test", key=key, sequence=sequence, time=time)
    return msgspec.json.decode(made)


def estimate(value, half):
    return {"value": value, "low": value - half, "high": value + half}


def metrics(key, week, *, harm=0.0, phase="watching", threshold=0.5, seed=0, half=0.012, kpi=None):
    chance = random.Random(seed * 1000 + week)
    at = START + week * WEEK

    def noisy(value, scale=1.0):
        return estimate(value + chance.gauss(0, 0.35 * half * scale), half * scale)

    prevalence = 0.42 + 0.04 * math.sin(week / 8) + 0.03 * harm
    bins = []
    for step in range(12):
        score = (step + 0.5) / 12
        observed = min(max(score + harm * 0.9 * (0.5 - score) + chance.gauss(0, 0.012), 0.001), 0.999)
        events = round(180 + 500 * (score - 0.5) ** 2)
        spread = 2.2 * math.sqrt(observed * (1 - observed) / events)
        low, high = max(observed - spread, 0), min(observed + spread, 1)
        bins.append({"score": score, "observed": observed, "low": low, "high": high, "events": events})
    values = {
        "log_loss": noisy(0.42 + 0.5 * harm, 1.5),
        "brier": noisy(0.135 + 0.12 * harm, 0.7),
        "auc": noisy(0.905 - 0.12 * harm, 0.6),
        "average_precision": noisy(0.88 - 0.13 * harm),
        "precision": noisy(0.82 - 0.16 * harm, 1.4),
        "recall": noisy(0.79 - 0.11 * harm, 1.4),
        "f1": noisy(0.8 - 0.13 * harm, 1.2),
        "cost": noisy(0.24 + 0.16 * harm, 1.1),
        "calibration_error": noisy(0.04 + 0.3 * harm),
        "GeometricMean": {"value": 0.83 - 0.1 * harm, "low": None, "high": None},
    }
    if kpi:
        values[kpi] = noisy(12.5 - 4 * harm, 20)
    data = key | {
        "window": {"from": rfc(at - 6 * WEEK), "to": rfc(at), "events": 2016},
        "metrics": values,
        "prevalence": {
            "labelled": noisy(prevalence, 1.6),
            "label_free": None if week < 12 else noisy(prevalence + 0.05 * harm, 2.2),
        },
        "threshold": threshold,
        "confusion": {"tp": 690, "fp": 150, "fn": 180, "tn": 996},
        "reliability": bins,
        "phase": phase,
    }
    return "metrics", record("metrics", at + dt.timedelta(days=2), data, week)


def week_of(week, days=2.0):
    return START + week * WEEK + dt.timedelta(days=days)


def drift(key, week, monitor, tier, direction, *, change=None, diagnosis=None):
    data = key | {
        "monitor": monitor,
        "tier": tier,
        "statistic": 2.31e6,
        "direction": direction,
        "change_at": None if change is None else rfc(week_of(change)),
        "before": None if change is None else estimate(0.24, 0.01),
        "after": None if change is None else estimate(0.31, 0.02),
        "diagnosis": None if diagnosis is None else {"state": diagnosis, "tests": {}},
    }
    return "drift", record("drift", week_of(week), data)


def threshold(key, week, new, previous, reason):
    data = key | {
        "threshold": new,
        "threshold_calibrated": new,
        "previous": previous,
        "objective": {"kind": "cost", "fp": 1, "fn": 2},
        "expected_gain": estimate(0.031, 0.014),
        "reason": reason,
        "prevalence": {"labelled": estimate(0.42, 0.02), "label_free": None},
        "calibration": "platt",
        "window": {"from": rfc(week_of(week - 12)), "to": rfc(week_of(week)), "events": 4032},
    }
    return "thresholds", record("threshold", week_of(week), data)


def calibration(key, week, method, lift):
    xs = [step / 20 for step in range(21)]
    data = key | {
        "method": method,
        "knots": {"x": xs, "y": [x + lift * 4 * x * (1 - x) * (0.5 - x) for x in xs]},
        "before": {"log_loss": 0.61, "brier": 0.19},
        "after": {"log_loss": 0.52, "brier": 0.17},
        "window": {"from": rfc(week_of(week - 12)), "to": rfc(week_of(week)), "events": 4032},
    }
    return "calibration", record("calibration", week_of(week), data)


def retrain(key, week):
    data = key | {
        "reason": "loss_not_recoverable",
        "diagnosis": {"state": "concept_drift", "tests": {}},
        "window": {"from": rfc(week_of(week - 4)), "to": rfc(week_of(week)), "events": 1344},
        "priority": 0.23,
    }
    return "retrain", record("retrain", week_of(week), data)


def rejected(reason, count, week=3):
    data = {
        "reason": reason,
        "detail": "ts: 1996-07-02T00:00:00 has no offset; write it as 1996-07-02T00:00:00Z",
        "topic": "predictions",
        "partition": 0,
        "offset": 4711,
        "count": count,
        "payload": None,
    }
    return "rejected", record("rejected", week_of(week), data)


def life(model="price-up", version="0", segment="*", *, seed=0, weeks=126, drifts=True, mended=True, asked=None):
    """(topic, record) pairs of one key, in order of time; a new model is asked for (`asked`) unless it is mended."""
    key = {"model": model, "version": version, "segment": segment}
    whole = segment == "*"
    made = []
    for week in range(1, weeks + 1):
        harm = 0.0
        if drifts and week >= 44:
            harm = min((week - 44) / 14, 1.0)
            if week > 70:
                harm *= max(0.45, 1 - (week - 70) / 40)
        learning = week < 12 or (drifts and 52 <= week < (64 if mended else 999))
        value = 0.5 if week < 30 else 0.41 if week < 58 or not drifts else 0.36
        made.append(
            metrics(
                key,
                week,
                harm=harm,
                phase="learning" if learning else "watching",
                threshold=value,
                seed=seed,
                half=0.012 if whole else 0.024,
                kpi="revenue" if whole else None,
            )
        )
    made.append(threshold(key, 30, 0.41, 0.5, "gain"))
    if drifts:
        made += [drift(key, week, "ADWIN", "advisory", "up") for week in (47, 48, 50, 66)]
        made.append(drift(key, 51, "cost", "confirmed", "up", change=44, diagnosis="concept_drift"))
        if whole:
            made.append(calibration(key, 20, "prior_shift", 0.1))
            made.append(calibration(key, 54, "platt", 0.8))
        made.append(threshold(key, 58, 0.36, 0.41, "gain"))
        if whole and (not mended if asked is None else asked):
            made.append(retrain(key, 56))
    return sorted(made, key=lambda pair: pair[1]["time"])


def demo_like():
    """A run on the demo's data: one model, four segments, some rejected messages."""
    made = life(mended=False)
    for seed, name in enumerate(("night", "morning", "afternoon", "evening"), 1):
        made += life(segment=f"daytime={name}", seed=seed, drifts=name in ("night", "evening"))
    made += [rejected("naive_time", 12), rejected("naive_time", 3), rejected("not_json", 1)]
    return sorted(made, key=lambda pair: pair[1]["time"])


FACTS = {
    "predictions": 42_624,
    "outcomes": 42_837,
    "joined": 42_412,
    "waiting": 48,
    "time": 912_870_000_000,
    "wall_seconds": 8.4,
    "rate": 10_180.0,
}
