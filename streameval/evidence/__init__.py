"""Evidence: the mergeable sums from which everything after the join is computed.

A cohort's evidence is a score histogram by label plus exact integer sums. Evidence adds and subtracts without rounding,
so windows are sums of intervals, shards merge by addition, and a corrected label is subtracted and added again.
"""

from streameval.evidence.binary import BinaryEvidence, EvidenceError, split
from streameval.evidence.bins import BINS, EDGES, bin_of, threshold_bin
from streameval.evidence.histogram import ScoreHistogram
from streameval.evidence.window import WindowEvidence

__all__ = [
    "BINS",
    "EDGES",
    "BinaryEvidence",
    "EvidenceError",
    "ScoreHistogram",
    "WindowEvidence",
    "bin_of",
    "split",
    "threshold_bin",
]
