"""Tags come out with the row that they were put in with, whatever becomes of it."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_join import read, small, worlds

from streameval.join import Join

__all__ = ["small"]


def tags_of(ts, id_hash):
    """What belongs to a row, from which it can be told: one of few values, and one that grows out of a byte."""
    return [np.array(ts) % 3, np.array(ts) * 7 + np.array(id_hash, np.int64)]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(), data=st.data())
def test_whatever_comes_out_has_the_tags_it_went_in_with(world, data):
    config, ps, os, flow = world
    given_ = Join.put

    def put(join, part, ts, lt, h, score, kind, version, offset=None):
        given_(join, part, ts, lt, h, score, kind, version, offset, tags_of(ts, h))

    Join.put = put
    try:
        _, acts = read(({**config, "tags": 2}, ps, os, flow), 400, data.draw)
    finally:
        Join.put = given_
    for rows in (acts.closed, acts.matured, acts.amended):
        if len(rows):
            assert [tag.tolist() for tag in rows.tags] == [tag.tolist() for tag in tags_of(rows.ts, rows.id_hash)]
