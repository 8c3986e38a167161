import io

import records
from rich.console import Console

from streameval.serve import terminal
from streameval.serve.snapshot import Snapshot


def shown(pairs, **options):
    snapshot = Snapshot()
    for topic, record in pairs:
        snapshot.feed(topic, record)
    console = Console(file=io.StringIO(), width=200)
    console.print(terminal.table(snapshot, **options))
    return console.file.getvalue()


def test_the_table_tells_decisions_in_order_of_time():
    text = shown(records.life(asked=True))
    told = ["learning ended", "prior shift", "0.5 → 0.41", "the cost of decisions rose", "loss not recoverable"]
    places = [text.index(part) for part in told]
    assert places == sorted(places)


def test_a_run_of_advisory_alarms_is_one_line():
    text = shown(records.life(asked=True))
    assert text.count("the Brier loss (ADWIN)") == 2
    assert "3 times until 19 Jun 1997" in text


def test_a_long_list_keeps_what_matters_and_counts_the_rest():
    text = shown(records.demo_like(), rows=8)
    assert "the cost of decisions rose" in text
    assert "more in the report" in text
    assert "daytime=" not in text


def test_names_are_not_read_as_markup():
    assert "[bold red]m[/]" in shown(records.life(model="[bold red]m[/]"))
