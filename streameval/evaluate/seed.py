"""Seeds of bootstraps: made of the data, so that an interval is a function of the evidence alone.

Invariant: equal arrays give equal seeds, on every machine and in every process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash


def seed_of(*arrays: npt.NDArray[Any]) -> int:
    """A 64-bit seed from the arrays' contents.

    >>> seed_of(np.array([1, 2])) == seed_of(np.array([1, 2])) != seed_of(np.array([2, 1]))
    True
    """
    digest = xxhash.xxh3_64()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.intdigest()
