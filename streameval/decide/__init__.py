"""Decide: which threshold to publish and when to ask for retraining. Numbers in, decisions out.

`objectives` solve a threshold from evidence; `gate` lets a move through only where its gain is beyond doubt;
`retraining` asks for a new model only where recalibration and a threshold cannot win back what was lost.

Invariant: no IO, no clock, no unseeded randomness. Source: METHODS, sections 4 and 5b.
"""
