"""The engine: what turns events into decisions; pure, a fold over the logs.

``clock`` gives events their logical time, ``model`` folds one model, ``cell`` takes the steps, ``engine`` is all of it.

Source: DESIGN, "The one idea" and "Time". Invariant: no IO, no clock on the wall, no unseeded randomness.
"""

from streameval.engine.engine import Engine

__all__ = ["Engine"]
