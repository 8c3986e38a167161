"""Detect: whether something changed. Evidence in, alarms out.

`life.Watch` is a cell's monitors from learning to alarm; `esr` the detector of confirmed alarms; `family` what it
watches; `bounds` and `overdispersion` what a reference allows; `advisory` River's detectors, which decide nothing;
`diagnosis` what an alarm was.

Invariant: no IO, no clock, no unseeded randomness. Source: METHODS, sections 1, 5 and 10.
"""
