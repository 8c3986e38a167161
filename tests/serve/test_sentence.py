import records

from streameval.serve.sentence import sentence
from streameval.serve.series import Estimate, Key, Measured, Series, Window
from streameval.serve.snapshot import Snapshot

KEY = Key("price-up", "0")
NAMES = {"model": "price-up", "version": "0", "segment": "*"}


def fold(pairs):
    snapshot = Snapshot()
    for topic, record in pairs:
        snapshot.feed(topic, record)
    return snapshot


def test_a_model_without_metrics_waits_for_labels():
    assert fold([]).state(KEY) == "waiting"
    assert fold([]).sentence(KEY) == "price-up waits for its first matured labels: no metrics yet."


def test_a_young_model_is_learning():
    snapshot = fold(records.life(weeks=6, drifts=False)[:6])
    assert snapshot.state(KEY) == "learning"
    assert snapshot.sentence(KEY).startswith(
        "price-up is learning what normal looks like (since 11 Jul 1996): cost per"
    )


def test_a_model_without_alarm_is_healthy_and_says_since_when():
    snapshot = fold(records.life(drifts=False))
    assert snapshot.state(KEY) == "healthy"
    assert snapshot.sentence(KEY).endswith("No confirmed change since 26 Sep 1996.")


def test_a_drifted_model_says_why_since_when_and_what_was_done():
    said = fold(records.life(mended=False)).sentence(KEY)
    assert "price-up drifted: the cost of decisions rose, since about 8 May 1997" in said
    assert "confirmed 26 Jun 1997; diagnosis: concept drift" in said
    assert "The threshold went from 0.41 to 0.36" in said
    assert "scores are recalibrated by Platt scaling (17 Jul 1997)" in said
    assert "retraining was asked for on 31 Jul 1997" in said


def test_nothing_done_is_said_too():
    said = fold([records.drift(NAMES, 51, "cost", "confirmed", "up")]).sentence(KEY)
    assert said == (
        "price-up drifted: the cost of decisions rose, since about 26 Jun 1997 (confirmed 26 Jun 1997)."
        " Nothing was changed since."
    )


def test_a_model_that_has_learnt_anew_is_healthy_and_remembers():
    snapshot = fold(records.life())
    assert snapshot.state(KEY) == "healthy"
    assert "watches again since 25 Sep 1997, after the one confirmed change" in snapshot.sentence(KEY)


def test_a_model_that_waits_for_its_successor_is_not_healthy():
    snapshot = fold(records.life(asked=True))
    assert snapshot.state(KEY) == "drifted"
    said = snapshot.sentence(KEY)
    assert "retraining was asked for on 31 Jul 1997" in said
    assert said.endswith("what it does now has been learnt and is watched (25 Sep 1997).")


def test_an_alarm_diagnosed_as_none_is_no_drift():
    pairs = [
        *records.life(drifts=False),
        records.drift(NAMES, 120, "label", "confirmed", "up", change=118, diagnosis="none"),
    ]
    snapshot = fold(pairs)
    assert snapshot.state(KEY) == "healthy"
    assert "turned out to be none" in snapshot.sentence(KEY)


def test_a_change_beside_our_own_move_is_not_called_drift():
    pairs = [records.drift(NAMES, 51, "label", "confirmed", "down", change=50, diagnosis="confounded")]
    said = fold([*records.life(weeks=50, drifts=False), *pairs]).sentence(KEY)
    assert "price-up changed: the share of positives fell" in said
    assert "cannot be told from what our own decisions did" in said
    assert "drifted" not in said


def test_an_alarm_of_the_guard_is_over_when_learning_ends():
    life = records.life(drifts=False)
    learning = next(record["time"] for _, record in life if record["data"].get("phase") == "learning")
    alarm = records.drift(NAMES, 2, "label", "confirmed", "up", change=1, diagnosis="confounded")
    assert learning < alarm[1]["time"]
    snapshot = fold(sorted([*life, alarm], key=lambda pair: pair[1]["time"]))
    assert snapshot.state(KEY) == "healthy"
    assert "watches again since 26 Sep 1996, after the one confirmed change" in snapshot.sentence(KEY)


def of(first, last):
    """A healthy series whose cost and AUC had these intervals in the first and the last window."""
    series = Series(key=KEY)
    for week, (cost, auc) in enumerate((first, last)):
        metrics = {name: Estimate((low + high) / 2, low, high) for name, (low, high) in (("cost", cost), ("auc", auc))}
        series.measured(Measured(at=week, window=Window(week, week + 1, 500), metrics=metrics, phase="watching"))
    return sentence(KEY, series, [])


def test_what_was_lost_without_an_alarm_is_told_where_it_is_beyond_doubt():
    assert "cost per decision 0.5 (at first 0.2) and AUC 0.7 (at first 0.9)" in of(
        ((0.1, 0.3), (0.85, 0.95)), ((0.4, 0.6), (0.65, 0.75))
    )
    for better_or_unsure in (((0.1, 0.3), (0.85, 0.95)), ((0.05, 0.09), (0.97, 0.99)), ((0.2, 0.4), (0.8, 0.9))):
        assert "at first" not in of(((0.1, 0.3), (0.85, 0.95)), better_or_unsure)


def test_a_map_that_only_learnt_on_is_nothing_that_was_done():
    maps = [records.calibration(NAMES, week, "platt", 0.1) for week in (40, 60, 70)]
    alarm = records.drift(NAMES, 51, "cost", "confirmed", "up", change=50)
    said = fold([*records.life(weeks=50, drifts=False), maps[0], alarm, *maps[1:]]).sentence(KEY)
    assert "recalibrated" not in said


def test_an_advisory_alarm_changes_no_state():
    snapshot = fold([*records.life(drifts=False), records.drift(NAMES, 120, "ADWIN", "advisory", "up")])
    assert snapshot.state(KEY) == "healthy"


def test_the_whole_names_its_drifted_segments():
    snapshot = fold(records.life(drifts=False) + records.life(segment="daytime=night", mended=False))
    assert snapshot.sentence(KEY).endswith("Also drifted: daytime=night.")


def test_a_retired_version_has_ended():
    snapshot = fold(records.life())
    snapshot.retire(KEY, 912_870_000_000)
    assert snapshot.state(KEY) == "retired"
    assert "has ended" in snapshot.sentence(KEY)
