"""A bound on the processor time that serving takes from the loop: they share one interpreter.

Invariant: over any time much longer than `BURST`, what waits for the allowance gets at most its share of one processor,
however many ask. Nobody is refused: whoever asks too much waits longer for an answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

__all__ = ["BURST", "SHARE", "Allowance"]

SHARE: Final = 0.05
"""Of one processor's time, at most, for pages and scrapes."""
BURST: Final = 0.25
"""Seconds of processor time that may be saved up while nobody asks."""


class Allowance:
    """Processor time, granted as it accrues.

    Args:
        share: Of one processor.
        now: Monotonic seconds.
    """

    def __init__(self, share: float = SHARE, now: Callable[[], float] = time.monotonic) -> None:
        self.share = share
        self._now = now
        self._left = BURST
        self._at = now()

    def spend(self, seconds: float) -> None:
        """So much processor time was used."""
        self._accrue()
        self._left -= seconds

    def missing(self) -> float:
        """Seconds to wait until there is an allowance again; 0 where there is.

        >>> clock = iter([0.0, 0.0, 0.0, 1.0]).__next__
        >>> allowance = Allowance(share=0.1, now=clock)
        >>> allowance.spend(BURST + 0.2)
        >>> round(allowance.missing(), 6), round(allowance.missing(), 6)
        (2.0, 1.0)
        """
        self._accrue()
        return max(0.0, -self._left / self.share)

    async def granted(self) -> None:
        """Wait until there is an allowance."""
        while True:
            missing = self.missing()
            if missing <= 0:
                return
            await asyncio.sleep(missing)

    def _accrue(self) -> None:
        now = self._now()
        self._left = min(BURST, self._left + (now - self._at) * self.share)
        self._at = now
