"""Files of events: their formats, their order, their partitions, and what is said when they are wrong."""

import bz2
import csv
import gzip
import json
import lzma
import random
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.config import Topics
from streameval.errors import InputError, InvariantError, MissingDependencyError, TopicError
from streameval.events import Batch, Decoder, ModelSpec
from streameval.transport.files import Files

TOPICS = Topics()
START = 1_714_564_800_000


def event(n, ts=None, **more):
    return {"id": f"e{n}", "model": "m", "ts": START + n if ts is None else ts, "score": 0.5, **more}


def jsonl(path, events):
    path.write_bytes(b"".join(json.dumps(e).encode() + b"\n" for e in events))
    return path


def everything(files, topic="predictions", partition=0, step=1000):
    files.assign({(topic, partition): 0})
    found, offsets = [], []
    while (batch := files.read(topic, partition, step)) is not None:
        found += batch.values
        offsets += batch.offsets.tolist()
    assert offsets == list(range(len(found)))
    assert files.caught_up((topic, partition))
    assert files.position((topic, partition)) == files.bounds(topic, partition).end == len(found)
    return found


def rows(*arguments, **options):
    return [json.loads(line) for line in everything(Files(*arguments, TOPICS, **options))]


def only(path, **options):
    return rows([path], [], **options)


@given(st.lists(st.integers(0, 5000), max_size=60), st.booleans(), st.integers(1, 9))
@settings(max_examples=60)
def test_rows_come_in_order_of_time_and_a_log_in_its_own(tmp_path_factory, times, as_log, step):
    path = jsonl(tmp_path_factory.mktemp("f") / "a.jsonl", [event(n, START + t) for n, t in enumerate(times)])
    found = [json.loads(v)["id"] for v in everything(Files([path], [], TOPICS, as_log=as_log), step=step)]
    order = range(len(times)) if as_log else sorted(range(len(times)), key=lambda n: times[n])
    assert found == [f"e{n}" for n in order]


def test_a_row_without_a_readable_time_stays_behind_the_row_before_it(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [b"first", b'{"ts":1714564800002}', b"rubbish", b'{"ts":17}', b'{"ts":"2024-05-01T12:00:00"}']
    path.write_bytes(b"\n".join([*lines, b'{"ts":"2024-05-01T12:00:00.001Z"}', b""]))
    files = Files([path], [], TOPICS)
    assert everything(files) == [b"first", b'{"ts":"2024-05-01T12:00:00.001Z"}', *lines[1:]]
    assert files.reordered == [path]


def test_a_file_in_order_keeps_its_row_numbers_and_is_not_called_reordered(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [event(n) for n in range(5000)])
    files = Files([path], [], TOPICS)
    assert [json.loads(v)["id"] for v in everything(files, step=700)] == [f"e{n}" for n in range(5000)]
    assert files.reordered == []


@pytest.mark.parametrize("ending", [b"\n", b""])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_last_line_counts_without_newline_if_it_is_whole(tmp_path, ending, reverse):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps(event(n)).encode() for n in range(3)][:: -1 if reverse else 1]
    path.write_bytes(b"\n".join(lines) + ending)
    assert [row["id"] for row in only(path)] == ["e0", "e1", "e2"]
    path.write_bytes(b"\n".join(lines) + b'\n{"id":"torn","ts":')
    assert [row["id"] for row in only(path)] == ["e0", "e1", "e2"]


def test_blank_lines_and_carriage_returns_are_rows_of_their_own(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"ts":1714564800001}\r\n\n{"ts":1714564800002}\n')
    assert everything(Files([path], [], TOPICS)) == [b'{"ts":1714564800001}\r', b"", b'{"ts":1714564800002}']


def test_an_empty_file_is_an_empty_partition(tmp_path):
    for name in ("a.jsonl", "b.csv"):
        (tmp_path / name).write_bytes(b"")
        assert only(tmp_path / name) == []


def test_a_line_longer_than_the_limit_is_cut_and_its_neighbours_are_whole(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":1}\n' + b"x" * (5 << 20) + b'\n{"a":2}\n')
    assert [len(value) for value in everything(Files([path], [], TOPICS))] == [7, 4 << 20, 7]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_compressed_files_are_unpacked(tmp_path, suffix, pack):
    plain = jsonl(tmp_path / "7.jsonl", [event(n) for n in range(300)])
    path = tmp_path / f"7.jsonl{suffix}"
    path.write_bytes(pack(plain.read_bytes()))
    files = Files([path], [], TOPICS)
    assert files.partitions(["predictions", "outcomes"]) == {"predictions": [7], "outcomes": []}
    assert b"\n".join(everything(files, partition=7)) + b"\n" == plain.read_bytes()
    path.write_bytes(pack(plain.read_bytes())[:-20])
    with pytest.raises(InputError, match="cannot be unpacked") as error:
        Files([path], [], TOPICS)
    assert error.value.where == str(path)


def test_zstandard_is_unpacked_with_pyarrow(tmp_path):
    pa = pytest.importorskip("pyarrow")
    path = tmp_path / "a.csv.zst"
    with pa.CompressedOutputStream(str(path), "zstd") as out:
        out.write(b"id,ts,label\na,1714564800000,1\n")
    assert only(path) == [{"id": "a", "ts": START, "label": 1}]


def test_a_table_of_each_format_gives_the_same_events(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    given = [event(n, segments={"country": "DE"}, features={"x": n + 0.5}) for n in range(20)]
    del given[3]["score"], given[4]["segments"]
    columns = ["id", "model", "ts", "score", "segments.country", "features.x"]
    flat = [
        {**e, "segments.country": e.get("segments", {}).get("country"), "features.x": e["features"]["x"]} for e in given
    ]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(flat)
    table = pa.table({c: [row.get(c) for row in flat] for c in columns})
    parquet.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    for name in ("a.csv", "a.parquet", "b.parquet.gz"):
        assert only(tmp_path / name) == given
    assert only(jsonl(tmp_path / "a.jsonl", given)) == given


def test_a_csv_column_is_read_by_its_name_and_never_by_its_values(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "﻿id,version,ts,label,values.revenue,segments.zip,other\n"
        "007,1.0,1714564800000.0,true,1e3,00123,007\n"
        "8,,2024-05-01T12:00:00+00:00,0,NaN,NA,2.5\n"
        "\n"
        '"a,b",x,1714564800001,,-3,,\n',
        encoding="utf-8",
    )
    assert only(path, as_log=True) == [
        {
            "id": "007",
            "version": "1.0",
            "ts": START,
            "label": True,
            "values": {"revenue": 1000.0},
            "segments": {"zip": "00123"},
            "other": "007",
        },
        {"id": "8", "ts": "2024-05-01T12:00:00+00:00", "label": 0, "segments": {"zip": "NA"}, "other": 2.5},
        {"id": "a,b", "version": "x", "ts": START + 1, "values": {"revenue": -3}},
    ]


def test_a_row_with_nan_where_nobody_reads_it_is_put_in_its_place_by_its_time(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [
        b'{"id": "c", "ts": %d, "features": {"age": NaN}}' % (START + 2),
        b'{"id": "a", "ts": %d.0, "features": {"name": "\\ud83d"}}' % START,
        b'{"id": "b", "ts": %d, "features": {"age": 1e400}}' % (START + 1),
        b'{"id": "d", "ts": %d, "features": {"age": -Infinity}}' % (START + 3),
    ]
    path.write_bytes(b"\n".join(lines))
    assert everything(Files([path], [], TOPICS)) == [lines[1], lines[2], lines[0], lines[3]]
    path.write_bytes(b"\n".join(lines)[:-1])
    assert len(everything(Files([path], [], TOPICS))) == 3


def test_a_row_with_nothing_but_a_time_is_a_heartbeat(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "a.csv").write_text(f"id,ts,label,values.revenue\na,{START},1,\n,{START + 1},,\n")
    table = pa.table({"id": ["a", None], "ts": [START, START + 1], "label": [1.0, float("nan")]})
    parquet.write_table(table, tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        values = everything(Files([], [tmp_path / name], TOPICS), "outcomes")
        found, rejected = Decoder([ModelSpec("m")]).outcomes(Batch("outcomes", 0, np.arange(2), values))
        assert (found.heartbeat.tolist(), found.ts.tolist(), rejected) == ([False, True], [START, START + 1], [])


def test_a_csv_row_of_too_many_cells_becomes_a_message_that_is_no_json(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,ts\na,1714564800000\nb,1714564800001,surplus\n")
    assert everything(Files([path], [], TOPICS)) == [
        b'{"id":"a","ts":1714564800000}',
        b"a row of 3 cells under 2 columns",
    ]


def test_a_parquet_time_becomes_rfc_3339_and_one_without_zone_is_refused(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    moments = pa.array([datetime(2024, 5, 1, 12, tzinfo=UTC), None], pa.timestamp("ns", tz="UTC"))
    scores = pa.array([0.25, float("nan")])
    parquet.write_table(pa.table({"id": [1, 2], "ts": moments, "score": scores}), tmp_path / "a.parquet")
    assert only(tmp_path / "a.parquet") == [{"id": 1, "ts": "2024-05-01T12:00:00Z", "score": 0.25}, {"id": 2}]
    naive = pa.array([START * 1000], pa.timestamp("us"))
    parquet.write_table(pa.table({"id": [1], "ts": naive}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="no time zone") as error:
        Files([tmp_path / "b.parquet"], [], TOPICS)
    assert error.value.where.endswith("b.parquet, column ts")


def test_partitions_are_the_stems_where_all_are_distinct_numbers_else_the_order(tmp_path):
    def partitions(*names, topics=TOPICS):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"")
        files = Files([tmp_path / name for name in names], [], topics)
        return {place: str(path.relative_to(tmp_path)) for place, path in files.paths.items()}

    assert partitions("3.jsonl", "1.csv") == {("predictions", 3): "3.jsonl", ("predictions", 1): "1.csv"}
    assert partitions("b.jsonl", "1.csv") == {("predictions", 0): "b.jsonl", ("predictions", 1): "1.csv"}
    assert partitions("3.jsonl", "03.csv") == {("predictions", 0): "3.jsonl", ("predictions", 1): "03.csv"}
    two = Topics(predictions=("web", "app"))
    assert partitions("app/0.jsonl", "web/0.jsonl", "else/0.jsonl", topics=two) == {
        ("app", 0): "app/0.jsonl",
        ("web", 0): "web/0.jsonl",
        ("web", 1): "else/0.jsonl",
    }


def test_a_foreign_payload_is_ordered_by_the_time_that_its_mapping_names(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"at": {"ms": START + 2}}, {"at": 7}, {"at": {"ms": START + 1}}])
    files = Files([path], [], TOPICS, times={"predictions": "at.ms"})
    assert [json.loads(v)["at"] for v in everything(files)] == [{"ms": START + 1}, {"ms": START + 2}, 7]


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("a.xlsx", b"", "no format that can be read"),
        ("a.jsonl.zip", b"", "no format that can be read"),
        ("missing.jsonl", None, "cannot be read: No such file"),
        ("a.csv", b"id;ts\n", "no column id nor ts; the columns are id;ts"),
        ("a.csv", b"id,ts\n\xff,1\n", "not UTF-8"),
        ("a.csv", b'id,ts\n"a"b,1\n', "not CSV"),
        ("a.parquet", b"no parquet at all", "not Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_what_is_wrong_and_the_cure(tmp_path, name, text, what):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    if text is not None:
        (tmp_path / name).write_bytes(text)
    with pytest.raises(InputError, match=what) as error:
        Files([tmp_path / name], [], TOPICS)
    assert str(tmp_path / name) in error.value.where
    assert error.value.cure


def test_a_missing_package_is_named_with_the_command_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(MissingDependencyError, match="pyarrow") as error:
        Files([tmp_path / "a.parquet"], [], TOPICS)
    assert error.value.cure == "pip install 'streameval[parquet]'"


def test_a_file_given_twice_is_refused(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [])
    with pytest.raises(InputError, match="given twice"):
        Files([path], [Path(f"{tmp_path}/../{tmp_path.name}/a.jsonl")], TOPICS)


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [event(n) for n in range(3000)])
    files = Files([path], [], TOPICS)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="was cut"):
        everything(files)


def test_reading_goes_on_from_any_position_and_from_no_other(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [event(n) for n in range(10_000)])
    files = Files([path], [], TOPICS)
    chance = random.Random(1)
    for position in [0, 8191, 8192, 8193, 9999, *(chance.randrange(9990) for _ in range(20))]:
        files.assign({("predictions", 0): position})
        batch = files.read("predictions", 0, 5)
        assert json.loads(batch.values[0])["id"] == f"e{position}"
        assert np.array_equal(batch.offsets, np.arange(position, position + len(batch)))
    with pytest.raises(TopicError, match="outside of 0 to 10000"):
        files.assign({("predictions", 0): 10001})


def test_poll_takes_from_all_partitions_that_are_not_paused_and_ends(tmp_path):
    paths = [jsonl(tmp_path / f"{p}.jsonl", [event(n) for n in range(10)]) for p in range(3)]
    files = Files(paths, [], TOPICS)
    files.assign({("predictions", p): 0 for p in range(3)})
    files.pause([("predictions", 1)])
    assert [(b.partition, len(b)) for b in files.poll(8, 0)] == [(0, 4), (2, 4)]
    files.resume([("predictions", 1)])
    while files.poll(100, 0):
        pass
    assert all(files.caught_up(("predictions", p)) for p in range(3))


def test_the_writing_half_is_refused(tmp_path):
    files = Files([], [], TOPICS)
    for call in (lambda: files.fence("w"), lambda: files.commit_record("w"), files.clock_marks):
        with pytest.raises(InvariantError, match="only read"):
            call()


def test_closing_closes_the_files(tmp_path):
    files = Files([jsonl(tmp_path / "a.jsonl", [event(1)])], [], TOPICS)
    files.close()
    assert files.partitions(["predictions"]) == {"predictions": []}
