import sys
from pathlib import Path

# Test folders are no packages, and these tests share a generator of records.
sys.path.insert(0, str(Path(__file__).parent))
