"""``replay``: files in, a folder of records and a report out."""

import csv
import json

import pytest

from tests.cli import stream
from tests.cli.stream import EVENTS

TOPICS = ("thresholds", "calibration", "drift", "retrain", "metrics", "alignment", "rejected", "clock")


def logs(config, *more):
    events = config.parent / "events"
    given = ["--predictions", events / "predictions" / "0.jsonl", "--outcomes", events / "outcomes" / "0.jsonl"]
    return ["--config", config, *given, *more]


def test_the_logs_of_a_live_run_give_byte_for_byte_what_it_published(call, worker, tmp_path):
    result = call("replay", *logs(worker, "--as-log", "--out", tmp_path / "out"))
    assert result.exit_code == 0, result.stderr
    for topic in TOPICS:
        live = worker.parent / "events" / topic / "0.jsonl"
        assert (tmp_path / "out" / f"{topic}.jsonl").read_bytes() == (live.read_bytes() if live.exists() else b"")
    assert "What happened" in result.stdout
    assert str(tmp_path / "out" / "report.html") in result.stdout
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")


def test_several_files_an_option_may_be_given_at_once_or_one_by_one(call, fresh_worker, tmp_path):
    events = fresh_worker.parent / "events"
    for topic in ("predictions", "outcomes"):
        path = events / topic / "0.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[::2]))
        (events / topic / "1.jsonl").write_text("".join(lines[1::2]))
    p, o = ([events / topic / f"{n}.jsonl" for n in (0, 1)] for topic in ("predictions", "outcomes"))
    at_once = ["--predictions", *p, "--outcomes", *o]
    singly = ["--predictions", p[0], "--predictions", p[1], "--outcomes", o[0], "--outcomes", o[1]]
    for out, given in (("a", at_once), ("b", singly)):
        assert call("replay", "-c", fresh_worker, *given, "--out", tmp_path / out).exit_code == 0
    for topic in TOPICS:
        assert (tmp_path / "a" / f"{topic}.jsonl").read_bytes() == (tmp_path / "b" / f"{topic}.jsonl").read_bytes()


def test_a_csv_in_any_order_gives_what_the_log_gives_and_says_that_it_was_reordered(call, worker, tmp_path):
    predictions = stream.events()[0]
    with (tmp_path / "p.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "model", "ts", "score", "segments.country"])
        rows = [[e["id"], e["model"], e["ts"], e["score"], e["segments"]["country"]] for e in predictions]
        writer.writerows(reversed(rows))
    outcomes = worker.parent / "events" / "outcomes" / "0.jsonl"
    given = ["--config", worker, "--predictions", tmp_path / "p.csv", "--outcomes", outcomes]
    result = call("replay", *given, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert json.loads(result.stderr.splitlines()[0])["event"] == "rows_reordered"
    live = worker.parent / "events" / "metrics" / "0.jsonl"
    assert (tmp_path / "out" / "metrics.jsonl").read_bytes() == live.read_bytes()


def test_a_value_called_other_has_records_of_its_own_beside_those_of_all_that_have_none(call, fresh_worker, tmp_path):
    log = fresh_worker.parent / "events" / "predictions" / "0.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    for n, row in enumerate(rows):
        row["segments"] = {"country": "other" if n % 4 == 0 else f"v{n % 61}"}
    rows[7]["segments"] = {"country": "~other"}
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert call("replay", *logs(fresh_worker, "--out", tmp_path / "out", "--complete")).exit_code == 0
    records = {topic: (tmp_path / "out" / f"{topic}.jsonl").read_text() for topic in ("metrics", "rejected")}
    windows = {}
    for record in map(json.loads, records["metrics"].splitlines()):
        windows[record["subject"]] = record["data"]["window"]["events"]
    assert len(windows) == 1 + 51
    # As many as the eleven values have that came last: the 1,500 events that say `other` are not among them.
    assert windows["fraud/0/country=~other"] == pytest.approx(EVENTS * 0.75 * 11 / 61, rel=0.2)
    assert windows["fraud/0/country=other"] > 0
    (told,) = map(json.loads, records["rejected"].splitlines())
    assert told["data"]["reason"] == "bad_string"
    assert "segments[...] is ~other" in told["data"]["detail"]


def test_complete_matures_all_that_waits(call, worker, tmp_path):
    call("replay", *logs(worker, "--out", tmp_path / "a"))
    result = call("replay", *logs(worker, "--out", tmp_path / "b", "--complete"))
    assert result.exit_code == 0

    def newest(folder):
        records = map(json.loads, (tmp_path / folder / "metrics.jsonl").read_text().splitlines())
        return max(record["data"]["window"]["to"] for record in records)

    assert newest("b") >= newest("a")


def test_earlier_results_are_not_overwritten_unless_that_is_asked_for(call, worker, tmp_path):
    assert call("replay", *logs(worker, "--out", tmp_path)).exit_code == 0
    (tmp_path / "mine.txt").write_text("keep")
    result = call("replay", *logs(worker, "--out", tmp_path))
    assert result.exit_code == 2
    assert "earlier replay" in result.stderr
    assert "--force" in result.stderr
    assert call("replay", *logs(worker, "--out", tmp_path, "--force")).exit_code == 0
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--clock", "nowhere"], 4, "cannot be read"),
        (["--predictions", "nowhere.jsonl"], 4, "nowhere.jsonl"),
        (["--predictions", "table.xls"], 4, "no format that can be read"),
    ],
)
def test_a_file_that_cannot_be_read_ends_it(call, worker, tmp_path, more, code, said):
    result = call("replay", *logs(worker, "--out", tmp_path / "out", *more))
    assert result.exit_code == code
    assert said in result.stderr


def test_clock_marks_need_the_logs_own_order(call, worker, tmp_path):
    rows = worker.parent / "events" / "predictions" / "0.jsonl"
    (tmp_path / "0.jsonl").write_text("".join(reversed(rows.read_text().splitlines(keepends=True))))
    (tmp_path / "clock.jsonl").write_text("")
    outcomes = worker.parent / "events" / "outcomes" / "0.jsonl"
    given = ["-c", worker, "--predictions", tmp_path / "0.jsonl", "--outcomes", outcomes, "--out", tmp_path / "out"]
    result = call("replay", *given, "--clock", tmp_path / "clock.jsonl")
    assert result.exit_code == 2
    assert "add --as-log" in result.stderr


def test_the_folder_of_results_may_not_be_a_file(call, worker, tmp_path):
    (tmp_path / "out").write_text("")
    result = call("replay", *logs(worker, "--out", tmp_path / "out"))
    assert result.exit_code == 2
    assert "a file, not a folder" in result.stderr
