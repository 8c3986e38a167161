"""The daemon: the loop that reads, decides and commits, and the replay of finished logs.

Source: DESIGN, "Time" and "State, recovery, exactly once". Invariant: all acts of the wall clock are here, and each
becomes a mark.
"""

from streameval.daemon.daemon import Daemon
from streameval.daemon.progress import Progress, Summary
from streameval.daemon.replay import replay

__all__ = ["Daemon", "Progress", "Summary", "replay"]
