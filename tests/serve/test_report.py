"""The page is looked at here as text and, where a Chromium is at hand, as the browser sees it."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise

import plotly.graph_objects as go
import pytest
import records

from streameval.serve import assets, figures, report
from streameval.serve.series import Estimate, Key, Measured, Series, Window
from streameval.serve.snapshot import Snapshot

EVIL = "<script>alert(1)</script>\"'&</style>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def fold(pairs, facts=records.FACTS):
    snapshot = Snapshot(facts=dict(facts))
    for topic, record in pairs:
        snapshot.feed(topic, record)
    return snapshot


@pytest.fixture(scope="module")
def page():
    return report.render(fold(records.demo_like()))


class Outline(HTMLParser):
    """Elements of the page with their attributes, and whether all are closed in order."""

    VOID = frozenset({"meta", "link", "br", "input"})

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def embedded(page):
    return json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', page).group(1))


def test_the_same_snapshot_gives_the_same_bytes(page):
    assert report.render(fold(records.demo_like())) == page


def test_the_page_is_one_well_formed_document_with_plotly_once(page):
    outline = Outline(page)
    assert outline.open == []
    assert len(outline.all("h1")) == 1
    assert page.count("plotly.js v") == 1
    ids = [attrs["id"] for _, attrs in outline.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_nothing_in_the_page_is_asked_of_a_host(page):
    outline = Outline(page)
    for _, attrs in outline.elements:
        assert not attrs.get("src")
        assert attrs.get("href", "#").startswith(("#", "data:"))
    assert "default-src 'none'" in page
    assert "@import" not in assets.text("page.css")
    assert "url(" not in assets.text("page.css")


def test_names_from_data_never_become_markup():
    evil = records.life(model=EVIL, version=EVIL, segment=f"a={EVIL}") + records.life(model=EVIL, version=EVIL)
    evil += [records.rejected(EVIL, 1)]
    key = {"model": EVIL, "version": EVIL, "segment": "*"}
    evil += [
        records.metrics(key, 130, kpi=EVIL),
        records.drift(key, 131, EVIL, "confirmed", "up", change=120, diagnosis=EVIL),
    ]
    evil += [records.threshold(key, 131, 0.2, 0.1, EVIL), records.calibration(key, 131, EVIL, 0.1)]
    page = report.render(fold(evil, {EVIL: EVIL}), title=EVIL)
    plain = report.render(fold(records.life() + records.life(segment="a=b")))
    assert len(Outline(page).all("script")) == len(Outline(plain).all("script")) == 3
    assert "<script>alert" not in page
    # Hover texts are read as markup by plotly.
    assert all("<script" not in text for one in embedded(page) for text in hovers(one))


def hovers(one):
    for figure in one["figures"]:
        for trace in figure["data"]:
            yield trace.get("name", "")
            yield from trace.get("text", [])


def test_every_plot_says_in_words_what_it_shows(page):
    outline = Outline(page)
    plots = [attrs for attrs in outline.all("div") if attrs.get("class") == "plot"]
    assert len(plots) == sum(len(one["figures"]) for one in embedded(page))
    assert all(attrs["role"] == "img" and len(attrs["aria-label"]) > 20 for attrs in plots)
    assert len(outline.all("table")) == len(outline.all("caption"))


def test_every_control_has_a_label(page):
    outline = Outline(page)
    labelled = {attrs["for"] for attrs in outline.all("label")}
    assert [attrs["id"] for attrs in outline.all("select")] == sorted(labelled)


def test_headings_leave_no_level_out(page):
    levels = [int(tag[1]) for tag, _ in Outline(page).elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_page_of_an_empty_run_says_so():
    page = report.render(Snapshot())
    assert "Nothing has been published yet" in page
    assert Outline(page).open == []


def test_figures_are_valid_for_plotly_once_filled():
    for series in fold(records.demo_like()).series:
        drawn = figures.drawing(series)
        assert {"events", "metric cost", "threshold", "prevalence", "reliability"} <= {f.name for f in drawn.figures}
        for figure in drawn.figures:
            go.Figure(filled(figure.data, drawn.times), filled(figure.layout, drawn.times))


def filled(value, times):
    if isinstance(value, str):
        return "#123456" if value[:1] == "$" else column(value[1:], times) if value[:1] == "@" else value
    if isinstance(value, list):
        return [filled(item, times) for item in value]
    if isinstance(value, dict):
        return {
            name: item if name in ("text", "name", "legendgroup") else filled(item, times)
            for name, item in value.items()
        }
    return value


def column(name, times):
    """As page.js does it."""
    whole, _, runs = name.partition(":")
    ends = [tuple(map(int, run.split("-"))) for run in runs.split(",")] if runs else []
    if not runs:
        return times[whole]
    return [at for a, b in ends for at in (*times[whole][a : b + 1], *reversed(times[whole][a : b + 1]), None)]


def expecting(values, metric="cost"):
    """A series whose ``metric`` is .2 throughout, expected to be each of ``values`` (None: silent, with no band)."""
    series = Series(key=Key("m", "1"))
    for week, value in enumerate(values):
        window = Window(week, week + 1, 500)
        ahead = {} if value is None else {metric: Estimate(value, value - 0.05, value + 0.05)}
        known = {metric: Estimate(0.2 + 0.01 * (week % 2), 0.15, 0.25)}
        series.measured(Measured(at=week, window=window, metrics=known, estimated=ahead))
    return figures.drawing(series)


def panel(drawn, metric="cost"):
    return next(f for f in drawn.figures if f.name == f"metric {metric}")


def test_a_band_does_not_bridge_a_time_of_which_nothing_is_said():
    drawn = expecting([0.2, 0.2, 0.2, None, None, 0.3, 0.3, None, 0.4, None])
    band = next(t for t in panel(drawn).data if t.get("fill") and t["x"].startswith("@said"))
    assert band["x"] == "@said:0-2,5-6"  # a single point has no band
    assert len(column(band["x"][1:], drawn.times)) == len(band["y"])
    assert column(band["x"][1:], drawn.times)[:7] == [0, 1, 2, 2, 1, 0, None]
    assert band["y"][:7] == [0.15, 0.15, 0.15, 0.25, 0.25, 0.25, None]


def test_a_wild_expectation_does_not_flatten_what_was_measured():
    low, high = panel(expecting([0.2] * 50 + [9.0] + [0.2] * 50)).layout["yaxis"]["range"]
    assert low < 0.15
    assert 0.25 < high < 0.5
    # But the last word is always in view: it may be the first to know.
    assert panel(expecting([0.2] * 50 + [9.0])).layout["yaxis"]["range"][1] > 9.0


def test_an_expectation_that_could_be_anything_is_told_and_not_drawn():
    series = Series(key=Key("m", "1"))
    for week in range(3):
        ahead = {"recall": Estimate(0.4, 0.0, 1.0)}
        series.measured(
            Measured(at=week, window=Window(week, week + 1, 9), metrics={"recall": Estimate(0.7)}, estimated=ahead)
        )
    shown = panel(figures.drawing(series), "recall")
    assert not any(trace.get("name") == "expected before labels" for trace in shown.data)
    assert "too uncertain now to be of use, 0.4 (0 to 1)" in shown.summary


def test_a_long_run_is_drawn_with_no_more_points_than_can_be_seen():
    page = report.render(fold(records.life(weeks=3000)))
    assert len(page) - len(assets.plotly_js()) < 1_500_000
    assert max(len(one["times"]["at"]) for one in embedded(page)) <= figures.POINTS + 1


def test_a_hundred_segments_still_make_a_page_that_opens():
    key = {"model": "m", "version": "1"}
    pairs = [records.metrics(key | {"segment": f"c={n}"}, week) for n in range(100) for week in range(60)]
    page = report.render(fold([*pairs, *(records.metrics(key | {"segment": "*"}, week) for week in range(60))]))
    assert len(page) - len(assets.plotly_js()) < 12_000_000
    assert all(len(one["times"]["at"]) <= 41 for one in embedded(page)[1:])


def test_every_colour_that_figures_name_is_in_both_themes():
    light, dark = themes()
    text = json.dumps(report.figures(figures.drawings(fold(records.demo_like()).series)))
    named = set(re.findall(r'"\$([a-z-]+)"', text))
    assert named - {"font"} <= set(light)
    assert set(light) == set(dark)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(theme):
    colours = themes()[theme]
    for name in ("ink", "muted", "first", "second", "third", "good", "alarm", "warn"):
        for ground in ("panel", "page"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def themes():
    style = assets.text("page.css")
    roots = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    return [
        {name: value for name, value in re.findall(r"--([a-z-]+): ([^;]+);", root) if name != "font"} for root in roots
    ]


def contrast(one, other):
    """WCAG 2.2, relative luminance of #rrggbb colours."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page is tested as text only")
def test_a_browser_draws_the_page_without_complaint(page, tmp_path):
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"]
    command += ["--window-size=1200,9000", "--virtual-time-budget=10000", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--dump-dom", f"file://{tmp_path / 'report.html'}"]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert "CONSOLE" not in seen.stderr
    shown = len(embedded(page)[0]["figures"])
    # Whatever is hidden (the segments not chosen) is not drawn.
    assert len(re.findall(r'class="plot js-plotly-plot"', seen.stdout)) == shown
