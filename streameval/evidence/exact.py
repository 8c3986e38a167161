"""Exact integer sums: fixed-point numbers, added by group without rounding and without overflow.

Invariant: every sum equals the sum of Python's integers. Arrays are int64 as long as all their values fit, and of dtype
object (Python integers) otherwise; which of the two is a function of the values alone.

Float sums differ in their last bits with every batch cut and every merge; integer addition is exact and order-free.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[Any]
"""int64, or object where a value needs more than 63 bits."""

FRACTION_BITS: Final = 32
UNIT: Final = 2.0**FRACTION_BITS
"""Scores and losses are counted in units of 2^-32."""

INT64_LIMIT: Final = 2**63
_EXACT_FLOAT: Final = 2**53
_PART_BITS: Final = 21


def fixed(x: npt.NDArray[np.float64], unit: float = UNIT) -> Integers:
    """`x * unit`, rounded to integers: int64[n], or Python integers where 63 bits do not hold them.

    >>> fixed(np.array([0.5, 1.0])).tolist()
    [2147483648, 4294967296]
    """
    scaled = np.rint(x * unit)
    if scaled.size and np.abs(scaled).max() >= INT64_LIMIT:
        return np.array([int(v) for v in scaled.tolist()], dtype=object)
    return scaled.astype(np.int64)


def largest(x: Integers) -> int:
    """The largest absolute value, 0 for an empty array."""
    return max(int(x.max()), -int(x.min())) if x.size else 0


def canonical(x: Integers) -> Integers:
    """The same values as int64 if they all fit, else as Python integers."""
    if x.dtype != object or largest(x) >= INT64_LIMIT:
        return x
    return x.astype(np.int64)


def plus(a: Integers, b: Integers) -> Integers:
    """The sum a + b, in Python integers exactly when 63 bits might not hold it."""
    if object in (a.dtype, b.dtype) or largest(a) + largest(b) >= INT64_LIMIT:
        return canonical(a.astype(object) + b.astype(object))
    total: Integers = a + b
    return total


def minus(a: Integers, b: Integers) -> Integers:
    """The difference a - b, in Python integers exactly when 63 bits might not hold it."""
    if object in (a.dtype, b.dtype) or largest(a) + largest(b) >= INT64_LIMIT:
        return canonical(a.astype(object) - b.astype(object))
    difference: Integers = a - b
    return difference


def squares(x: Integers) -> Integers:
    """x², in Python integers when 63 bits might not hold one of them."""
    if x.dtype != object and largest(x) >= 2**31:
        x = x.astype(object)
    return canonical(x * x)


def sums_by(codes: npt.NDArray[np.integer[Any]], x: Integers, size: int) -> Integers:
    """Sums of x[n] by code: entry c is the sum of x where `codes == c`, for c < `size`.

    numpy's grouped sum (`bincount`) adds floats, which are exact below 2^53. Larger values are cut into parts of 21
    bits that are summed apart.

    >>> sums_by(np.array([0, 1, 0]), np.array([1, 2**62, 3]), 2).tolist()
    [4, 4611686018427387904]
    """
    if x.dtype == object:
        total: Integers = np.zeros(size, dtype=object)
        np.add.at(total, codes, x)
        return canonical(total)
    bound = largest(x) * len(x)
    if bound < _EXACT_FLOAT:
        return np.bincount(codes, weights=x, minlength=size).astype(np.int64)
    low = np.bincount(codes, weights=x & (2**_PART_BITS - 1), minlength=size).astype(np.int64)
    high = sums_by(codes, x >> _PART_BITS, size)
    if bound >= INT64_LIMIT or high.dtype == object:
        return canonical(high.astype(object) * 2**_PART_BITS + low.astype(object))
    return high * 2**_PART_BITS + low


def to_plain(x: Integers) -> Integers | list[Any]:
    """What goes into a state: the int64 array itself, or nested lists of Python integers."""
    return x.tolist() if x.dtype == object else x


def from_plain(x: Integers | list[Any]) -> Integers:
    """The inverse of `to_plain`."""
    return np.array(x, dtype=object) if isinstance(x, list) else x


def narrow(counts: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """The same counts, none negative, in the narrowest type that holds them: what goes into a state.

    >>> narrow(np.array([1, 300])).dtype
    dtype('uint16')
    """
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))
