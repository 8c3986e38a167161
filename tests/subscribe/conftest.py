import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

# Test folders are no packages.
KAFKA = Path(__file__).parents[1] / "kafka"
sys.path[:0] = [str(Path(__file__).parent), str(KAFKA)]

from published import Logs  # noqa: E402

_spec = importlib.util.spec_from_file_location("kafka_conftest", KAFKA / "conftest.py")
_shared = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _shared  # dataclasses look their module up
_spec.loader.exec_module(_shared)

broker, own_broker, secured = _shared.broker, _shared.own_broker, _shared.secured
battered = _shared.battered
room, new_room, commit = _shared.room, _shared.new_room, _shared.commit


def pytest_collection_modifyitems(items):
    if shutil.which("java") is None or shutil.which("mvn") is None:
        for item in items:
            if item.path == Path(__file__).with_name("test_subscribing_on_kafka.py"):
                item.add_marker(pytest.mark.skip(reason="needs Java 17 and Maven"))


@pytest.fixture
def logs(tmp_path):
    return Logs(tmp_path / "events")
