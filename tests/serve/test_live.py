"""The status page in a real browser: it draws, keeps up, and keeps a reader's place."""

import shutil
import time

import pytest
import records
from playwright.sync_api import sync_playwright
from served import VITALS, Pulse, numbered, serving, wait_for

from streameval.serve import live

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page is not looked at")

LIFE = numbered(records.demo_like())
EARLIER = [record for record in LIFE if b'"time":"1997' in record.value or b'"time":"1996' in record.value]
LATER = LIFE[len(EARLIER) :]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(live, "EVERY", 400)


class Reader:
    """A page, and what it complained of or asked of others."""

    def __init__(self, browser, served, **options):
        self.context = browser.new_context(viewport={"width": 1200, "height": 1400}, **options)
        self.page = self.context.new_page()
        self.complaints, self.asked, self.elsewhere = [], [], []
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        host = f"127.0.0.1:{served.port}"
        self.page.on("request", lambda one: (self.asked if host in one.url else self.elsewhere).append(one.url))
        self.page.goto(f"http://{host}/")

    def drawn(self):
        self.page.wait_for_selector(".js-plotly-plot")
        return self

    def until(self, expression):
        """Until JavaScript is true; its policy lets the page itself evaluate no text."""
        return wait_for(lambda: self.page.evaluate(expression) or self.page.wait_for_timeout(50), 20)


@pytest.fixture
def read(browser):
    readers = []

    def read(served, **options):
        readers.append(Reader(browser, served, **options))
        return readers[-1]

    yield read
    for reader in readers:
        reader.context.close()


@pytest.fixture
def pulse():
    return Pulse()


@pytest.fixture
def served(pulse):
    with serving(pulse) as served:
        served.beat(VITALS)
        served.feed(EARLIER)
        wait_for(lambda: served._picture.changes == len(EARLIER))
        yield served


def test_the_page_is_drawn_and_read_by_eye_key_and_ear_and_asks_no_other_host(served, read):
    reader = read(served).drawn()
    page = reader.page
    assert page.locator("h1").inner_text() == "The model has drifted"
    assert "keeps up: 12 events to read" in page.locator(".worker").inner_text()
    titles = page.locator("figure h3").all_inner_texts()
    assert {"Decision threshold", "Reliability: does a score mean what it says?"} <= set(titles)
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.className || document.activeElement.tagName"))
    assert reached == ["skip", "A", "SELECT", "scroll", "scroll tall"]
    heard = page.locator("body").aria_snapshot()
    for said in (
        'heading "The model has drifted" [level=1]',
        'region "What happened"',
        'combobox "Segment"',
        'img "Decision threshold. 0.36 in force at the end',
    ):
        assert said in heard
    assert "- img\n" not in f"{heard}\n"
    assert (reader.complaints, reader.elsewhere) == ([], [])


def test_news_appear_without_a_reload_and_what_the_reader_does_stays(served, read):
    reader = read(served).drawn()
    page = reader.page
    page.evaluate("window.mine = 1")
    night = page.locator("option", has_text="daytime=night").get_attribute("value")
    page.select_option("select", value=night)
    page.wait_for_selector(f".series[data-place={night}] figure")
    page.focus("select")
    page.evaluate("scrollTo(0, 500)")
    reader.until("document.querySelectorAll('.js-plotly-plot').length > 3")
    page.evaluate(
        "Plotly.relayout(document.querySelector('.js-plotly-plot'), {'xaxis.range': ['1996-09-01', '1996-12-01']})"
    )
    starts = (
        "[...document.querySelectorAll('.js-plotly-plot')].slice(0, 4).map((p) => p.layout.xaxis.range[0].slice(0, 10))"
    )
    reader.until(f"{starts}.every((day) => day === '1996-09-01')")
    served.feed(LATER)
    reader.until("document.querySelector('.span').textContent.includes('1998')")
    assert page.evaluate("[window.mine, document.activeElement.tagName, scrollY]") == [1, "SELECT", 500]
    assert page.locator("select").input_value() == night
    assert set(page.evaluate(starts)) == {"1996-09-01"}
    served.feed(numbered(records.life(model="fraud", drifts=False)))
    page.wait_for_selector("article:has-text('fraud is healthy')")
    page.locator("section.model", has_text="fraud").scroll_into_view_if_needed()
    page.wait_for_selector("section.model:has(h2:text('fraud')) .js-plotly-plot")
    assert reader.complaints == []


def test_a_worker_that_stands_still_and_then_is_gone_is_told_as_such(served, pulse, read):
    page = read(served).page
    pulse.turned, pulse.doing = time.monotonic() - 500, "committing"
    page.wait_for_selector(".worker.drifted:has-text('stuck: the loop has stood still for 8 min')")
    served.__exit__(None, None, None)
    page.wait_for_selector("#link:has-text('No answer from the worker since')", timeout=10_000)
    assert page.locator("#link").get_attribute("role") == "status"


def test_an_empty_page_says_that_nothing_has_been_published_and_fills_itself(read):
    evil = "<img src=x onerror=alert(1)>\"'&"
    with serving() as served:
        reader = read(served)
        assert "Nothing has been published yet" in reader.page.locator("main").inner_text()
        served.feed(numbered(records.life(model=evil, version=evil) + records.life(model=evil, segment=f"a={evil}")))
        reader.drawn()
        assert reader.page.locator("img").count() == 0
        assert evil in reader.page.locator("h2 a").first.inner_text()
        assert reader.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_sticks_out_on_any_screen_in_any_theme(served, read, theme):
    reader = read(served, color_scheme=theme).drawn()
    for width in (400, 1200):
        reader.page.set_viewport_size({"width": width, "height": 900})
        reader.until(f"document.documentElement.scrollWidth === {width}")
    ground = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(16, 19, 23)") == (theme == "dark")


def test_without_javascript_the_sentences_and_tables_are_there(served, read):
    page = read(served, java_script_enabled=False).page
    assert "price-up drifted" in page.locator(".cards").inner_text()
    assert page.locator(".happened tbody tr").count() > 5


def test_the_page_stops_asking_while_nobody_looks(served, read):
    reader = read(served).drawn()
    seen = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    seen += "document.dispatchEvent(new Event('visibilitychange'))"
    reader.page.evaluate(seen % "true")
    reader.page.wait_for_timeout(1000)  # a question may be on its way
    before = len(reader.asked)
    reader.page.wait_for_timeout(1000)
    assert len(reader.asked) == before
    reader.page.evaluate(seen % "false")
    wait_for(lambda: reader.page.wait_for_timeout(50) or len(reader.asked) > before, 5)
