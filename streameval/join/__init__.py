"""The join: predictions wait for their outcomes, cohort by cohort.

Source: DESIGN, "Time" and "Retained rows". Invariant: what comes out is a function of the set of events and of T.
"""

from streameval.join.acts import Advance, Amendments, Cohorts, Labelled, Late
from streameval.join.join import Join
from streameval.join.pauses import NEVER, Pauses
from streameval.join.regrowth import Regrowth

__all__ = ["NEVER", "Advance", "Amendments", "Cohorts", "Join", "Labelled", "Late", "Pauses", "Regrowth"]
