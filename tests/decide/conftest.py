import sys
from pathlib import Path

# Test folders are no packages, and the tests of `detect` and `decide` share simulated streams.
sys.path.insert(0, str(Path(__file__).parent.parent / "detect"))
