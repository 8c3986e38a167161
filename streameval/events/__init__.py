"""The input contract: from the bytes of a topic to columns, and nothing else.

Invariant: every message becomes exactly one of a row, a rejection with its reason, or a counted tombstone; what a
message becomes depends on its own bytes (and the configuration) alone, never on its neighbours or on the batch cut.
One overlap is meant: a message for a model that is not configured here is a row too, because it moves the clock.

Source: design, "Events in".
"""

from streameval.events.columns import Batch, Outcomes, Predictions
from streameval.events.contract import ModelSpec, Outcome, Prediction, schemas
from streameval.events.decode import Decoder
from streameval.events.mapping import TopicMapping
from streameval.events.rejected import Rejection, RejectionLedger

__all__ = [
    "Batch",
    "Decoder",
    "ModelSpec",
    "Outcome",
    "Outcomes",
    "Prediction",
    "Predictions",
    "Rejection",
    "RejectionLedger",
    "TopicMapping",
    "schemas",
]
