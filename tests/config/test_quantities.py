"""Durations, sizes and names as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streameval.config.quantities import DAY, HOUR, LONGEST, MINUTE, SECOND, YEAR, bytes_of, duration_ms, duration_text


@given(st.integers(min_value=0, max_value=LONGEST))
def test_a_duration_is_read_back_as_it_was_said(ms):
    assert duration_ms(duration_text(ms)) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", 90 * SECOND), ("1m", MINUTE), ("1h30m", 90 * MINUTE), ("7d", 7 * DAY), ("1w", 7 * DAY), ("1y", YEAR),
        ("1.5h", 90 * MINUTE), ("250ms", 250), ("1 h 30 m", 90 * MINUTE), ("0", 0), ("0s", 0), (0, 0), (1500, 1500),
        (1500.0, 1500), ("PT1M", MINUTE), ("P1DT2H", 26 * HOUR), ("P2W", 14 * DAY), ("PT0.25S", 250), ("0.001s", 1),
    ],
)  # fmt: skip
def test_a_duration_has_many_forms_and_one_meaning(text, ms):
    assert duration_ms(text) == ms


NO_TEXT = ["", "1", "1x", "m1", "-1s", "1m1h", "1s1s", "P", "PT", "P1DT", "1h30", "\u0663s", "0.0001s", "2000y"]


@pytest.mark.parametrize("wrong", [*NO_TEXT, 0.5, True, None, [], -1])
def test_what_is_no_duration_is_refused_with_a_cure(wrong):
    with pytest.raises(ValueError, match="as in 90s"):
        duration_ms(wrong)


@pytest.mark.parametrize(
    ("text", "size"), [(4194304, 4194304), ("4MiB", 4194304), ("4 mib", 4194304), ("500kB", 500_000), ("0.5KiB", 512)]
)
def test_a_size_is_whole_bytes(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize("wrong", ["", "4 XB", "-1", -1, "0.3B", True, None, 1.5])
def test_what_is_no_size_is_refused_with_a_cure(wrong):
    with pytest.raises(ValueError, match="as in 4MiB"):
        bytes_of(wrong)
