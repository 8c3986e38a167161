"""Events that other programs really write, through the commands: what is not used is let pass, the rest is told."""

import json

from tests.cli import stream

CONFIG = """\
transport: {kind: logdir, path: ./events}
state: ./state
models:
  - name: fraud
    labels: {wait: 1d, missing: drop}
    evaluate: {events: 10, publish_every: 1m}
    segments: [country]
    kpis: {revenue: {scale: 0.01}}
"""
UNUSED = [
    '"features": {"age": NaN}',
    '"features": {"country": "DE", "flag": true, "v": [1, 2], "n": {"a": 1}, "big": Infinity, "huge": 1e400}',
    '"features": {"name": "\\ud83d"}',
    '"latency_ms": -1',
    '"value": "abc"',
    '"scores": {"0": 0.1, "1": 0.9}',
    '"scores": [0.1, 0.9]',
    '"decision": {"a": 1}',
    '"group": 1.5',
    '"propensity": 0',
    '"segments": {"country": "DE", "tags": ["x"]}',
]
BAD = [
    '"values": {"revenue": 1.7976931348623157e308}, "label": 0',
    '"values": {"revenue": -1e154}, "label": 1',
    f'"label": {"9" * 309}',
    f'"label": -1{"0" * 4000}',
    '"label": 1.7e308',
]


def write(folder, outcomes):
    (folder / "c.yaml").write_text(CONFIG)
    predictions = [
        f'{{"id": "x{n}", "model": "fraud", "ts": {stream.START + n * stream.MINUTE}, "score": {(n % 2) / 2}, {rest}}}'
        for n, rest in enumerate(UNUSED * 4)
    ]
    told = [
        f'{{"id": "x{n}", "ts": {stream.START + n * stream.MINUTE + 9}, {rest}}}'
        for n, rest in enumerate([f'"label": {n % 2}' for n in range(len(UNUSED) * 4)] + outcomes)
    ]
    for topic, lines in (("predictions", predictions), ("outcomes", told)):
        (folder / "events" / topic).mkdir(parents=True)
        (folder / "events" / topic / "0.jsonl").write_text("".join(line + "\n" for line in lines))
    return folder / "c.yaml"


def test_fields_that_no_model_uses_reject_no_event(call, tmp_path):
    config = write(tmp_path, [])
    events = tmp_path / "events"
    given = ["--predictions", events / "predictions" / "0.jsonl", "--outcomes", events / "outcomes" / "0.jsonl"]
    result = call("replay", "-c", config, *given, "--out", tmp_path / "out", "--complete")
    assert result.exit_code == 0, result.stderr
    assert "44 predictions, 44 outcomes, 44 joined, 0 waiting, 0 rejected" in result.stdout
    assert (tmp_path / "out" / "rejected.jsonl").read_text() == ""


def test_absurd_numbers_are_rejected_with_the_bound_and_never_end_the_daemon(call, tmp_path):
    config = write(tmp_path, BAD)
    for _ in range(2):
        result = call("run", "-c", config, "--until-end")
        assert result.exit_code == 0, result.stderr
    records = [
        json.loads(line)["data"] for line in (tmp_path / "events" / "rejected" / "0.jsonl").read_text().splitlines()
    ]
    assert [(data["reason"], data["offset"]) for data in records] == [("out_of_range", 44 + n) for n in range(len(BAD))]
    assert "more than 2^53 units of its scale (0.01)" in records[0]["detail"]
    assert "about 1e309" in records[2]["detail"]
