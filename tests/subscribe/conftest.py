import sys
from pathlib import Path

import pytest

# Test folders are no packages.
sys.path.insert(0, str(Path(__file__).parent))

from published import Logs


@pytest.fixture
def logs(tmp_path):
    return Logs(tmp_path / "events")
