"""Ids hashed with a key: the same joins, and state that is refused under another key."""

from __future__ import annotations

from pathlib import Path

import pytest
from worker import Worker

from streameval.errors import ConfigChangeError
from streameval.testing import streams

SECRET = "f3a9c0de" * 4


def test_a_worker_goes_on_with_its_key_wherever_that_is_kept_and_is_refused_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ID_KEY", SECRET)
    (tmp_path / "key").write_text(SECRET)
    stream = streams.stream(1, events=600)
    half = len(stream.deliveries) // 2
    openly, keyed = Worker(tmp_path / "openly").feed(stream), Worker(tmp_path / "keyed").feed(stream, before=half)
    keyed.run(ids={"key": {"env": "ID_KEY"}})
    keyed.feed(stream, after=half)
    monkeypatch.setenv("OTHER", SECRET[::-1])
    for other in ({"key": {"env": "OTHER"}}, {}):
        with pytest.raises(ConfigChangeError, match=r"ids\.") as caught:
            keyed.run(ids=other)
        assert "another state directory" in caught.value.cure
    told = keyed.run(ids={"key": {"file": str(tmp_path / "key")}})
    plain = openly.run()
    assert (told.matched, told.waiting, told.rejected) == (plain.matched, plain.waiting, plain.rejected)
    assert told.matched > 100
    assert SECRET.encode() not in b"".join(p.read_bytes() for p in keyed.root.rglob("*") if p.is_file())


def test_ids_that_are_used_again_are_counted_in_the_summary(tmp_path: Path) -> None:
    stream = streams.stream(1, events=300)
    again = [d._replace(at=d.at + 1, value=d.value.replace(b'"score": 0.', b'"score": 0.0')) for d in stream.deliveries]
    used = sum(b'"score"' in d.value for d in again)
    stream.deliveries = sorted([*stream.deliveries, *(d for d in again if b'"score"' in d.value)], key=lambda d: d.at)
    summary = Worker(tmp_path).feed(stream).wake(stream).run()
    assert summary.duplicates_differing > 0.9 * used
