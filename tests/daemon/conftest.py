import sys
from pathlib import Path

# Test folders are no packages, and the worker under test stands in a file of its own.
sys.path.insert(0, str(Path(__file__).parent))
