"""Truth beside what was said: verdicts from records, and a page that shows both."""

import re

import pytest

from streameval.serve import report, truth_page
from streameval.serve.series import Alarm, Key, Map, Move, Request, Series
from streameval.serve.snapshot import Snapshot
from streameval.serve.terminal import truth_table
from streameval.serve.truth import Chapter, Truth, answers, beside
from tests.serve import records

DAY = 86_400_000
COSTS = [(0.0, 0.9), (0.1, 0.2), (0.5, 0.3), (1.0, 0.8)]


def chapter(kind, at=0, until=10 * DAY):
    return Chapter(at, until, kind, "<b>so it is", 0.05, 0.92, 0.1, COSTS)


def truth(*kinds, stalled=None):
    chapters = [chapter(kind, 10 * DAY * n, 10 * DAY * (n + 1)) for n, kind in enumerate(kinds)]
    paths = [(c.at, 0.05) for c in chapters], [(c.at, 0.1) for c in chapters]
    return Truth("<i>tale", "Once upon <a> time.", 7, "m", DAY, chapters, *paths, stalled=stalled)


def said(*, alarm=None, state=None, asked=False, monitor="label", move=None, at=15 * DAY, tier="confirmed"):
    series = Series(key=Key("m", "0"), moves=[Move(0, 0.1)])
    if alarm:
        series.alarmed(Alarm(at, monitor, tier, "up", change_at=at, diagnosis=state))
    if asked:
        series.requested(Request(at, "because"))
    if move is not None:
        series.moved(Move(at, move, 0.1))
    return series


@pytest.mark.parametrize(
    ("kind", "heard", "verdict"),
    [
        ("none", {}, "right"),
        ("none", {"alarm": True}, "in vain"),
        ("none", {"alarm": True, "state": "none"}, "right"),
        ("none", {"alarm": True, "state": "confounded"}, "right"),
        ("none", {"alarm": True, "state": "label_shift"}, "in vain"),
        ("none", {"alarm": True, "tier": "advisory"}, "right"),
        ("labels", {"alarm": True, "monitor": "label_delay"}, "right"),
        ("none", {"asked": True}, "in vain"),
        ("label_shift", {}, "missed"),
        ("label_shift", {"alarm": True}, "undecided"),
        ("label_shift", {"alarm": True, "state": "inconclusive"}, "undecided"),
        ("label_shift", {"alarm": True, "state": "label_shift"}, "right"),
        ("label_shift", {"alarm": True, "state": "concept_drift"}, "missed"),
        ("label_shift", {"alarm": True, "state": "label_shift", "asked": True}, "in vain"),
        ("concept_drift", {"alarm": True, "state": "concept_drift"}, "missed"),
        ("concept_drift", {"alarm": True, "state": "concept_drift", "asked": True}, "right"),
        ("concept_drift", {"alarm": True, "state": "concept_drift", "asked": True, "at": 5 * DAY}, "missed"),
    ],
)
def test_a_verdict_is_what_the_truth_asks_for(kind, heard, verdict):
    assert answers(truth("none", kind), said(**heard))[1].verdict == verdict


def test_stalled_labels_must_be_said_and_nothing_done_without_them():
    heard = said()
    assert answers(truth("none", "labels_stalled"), heard)[1].verdict == "missed"
    assert answers(truth("none", "labels_stalled", stalled=16 * DAY), heard)[1].verdict == "right"
    assert answers(truth("none", "labels_stalled", stalled=16 * DAY), said(move=0.2))[1].verdict == "in vain"


def test_a_threshold_counts_by_what_it_truly_costs():
    first, second = answers(truth("none", "none"), said(move=0.5))
    assert (first.threshold, first.moves) == (0.1, 0)
    assert (second.threshold, second.moves) == (0.5, 1)
    assert second.chapter.excess(0.5) == pytest.approx(0.5)
    assert "threshold moved to 0.5, 50 % above the least cost" in beside(truth("none", "none"), said(move=0.5))[1][2]


def test_a_map_counts_when_its_method_is_new():
    series = said()
    for at, method in ((1, "identity"), (12, "platt"), (13, "platt"), (14, "isotonic")):
        series.mapped(Map(at * DAY, method))
    assert [answer.maps for answer in answers(truth("none", "none"), series)] == [0, 2]


def test_nothing_said_at_all_is_an_answer_too():
    assert [answer.verdict for answer in answers(truth("none", "label_shift"), None)] == ["right", "missed"]


def snapshot():
    found = Snapshot()
    for topic, record in records.life(model="m"):
        found.feed(topic, record)
    return found


def test_the_page_shows_truth_and_answer_and_escapes_both():
    begun = snapshot()
    page = report.render(begun, truth=truth("none", "label_shift"))
    assert 'id="truth"' in page
    assert "Once upon &lt;a&gt; time." in page
    assert "<b>so it is" not in page.split('id="figures"')[0].replace("&lt;b&gt;", "")
    assert 'id="truth"' not in report.render(begun)
    assert re.search(r"seed 7", page)


def test_the_truth_is_drawn_into_the_figures_of_the_whole_and_changes_no_other_trace():
    series = snapshot().series[0]
    from streameval.serve.figures import drawing

    plain, told = drawing(series), truth_page.drawn(drawing(series), truth("none", "label_shift"))
    assert [f.name for f in plain.figures] == [f.name for f in told.figures]
    by_name = {f.name: f for f in told.figures}
    for before in plain.figures:
        assert by_name[before.name].data[: len(before.data)] == before.data
    assert by_name["threshold"].data[-1]["name"] == "the best, in truth"
    assert by_name["prevalence"].data[-1]["name"] == "in truth"
    assert "Truth" in by_name["events"].layout["yaxis"]["categoryarray"]
    assert "Truth" not in drawing(series).figures[0].layout["yaxis"]["categoryarray"]


def test_the_terminal_shows_a_line_for_each_chapter():
    assert truth_table(truth("none", "label_shift"), said()).row_count == 2
