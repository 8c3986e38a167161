"""The image's recipe: what it installs is pinned with hashes and is what pyproject.toml asks for, what it takes along
is little, and its parts agree. The image itself is built and run by `by_hand.sh`.
"""

from __future__ import annotations

import json
import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

from tests.deploy.built import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
FINAL = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked(name: str) -> list[tuple[Requirement, int]]:
    """The requirements of a lock, each with how many hashes it names."""
    text = (DEPLOY / name).read_text().replace("\\\n", " ")
    entries = [line.split(" #")[0].strip() for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return [(Requirement(entry.split("--hash")[0].strip()), entry.count("--hash=sha256:")) for entry in entries]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-build.txt"])
def test_every_locked_requirement_is_one_version_with_hashes(name: str) -> None:
    requirements = locked(name)
    assert requirements
    for requirement, hashes in requirements:
        assert re.fullmatch(r"==[\w.!+]+", str(requirement.specifier)), requirement
        assert hashes > 0, requirement


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("requirements.txt", PROJECT["project"]["dependencies"]),
        ("requirements-build.txt", PROJECT["build-system"]["requires"]),
    ],
)
def test_the_lock_holds_what_pyproject_asks_for(name: str, asked: list[str]) -> None:
    pins: dict[str, list[Requirement]] = {}
    for requirement, _ in locked(name):
        pins.setdefault(requirement.name.lower(), []).append(requirement)
    for one in map(Requirement, asked):
        found = pins.get(one.name.lower(), [])
        assert found, f"{one.name} is not locked; make the lock anew by the command at its head"
        for pin in found:
            version = str(pin.specifier).removeprefix("==")
            assert one.specifier.contains(version), f"{pin} is not {one}"


def test_the_result_runs_as_nobody_with_its_tools_left_behind() -> None:
    assert DOCKERFILE.count("\nFROM ${BASE}") == 2
    assert re.search(r"^ARG BASE=\S+:\d+\.\d+\.\d+-\S+$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^USER 10001:10001$", FINAL, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", FINAL, re.MULTILINE)
    assert "org.opencontainers.image.version" in FINAL
    assert "STOPSIGNAL SIGTERM" in FINAL
    installs = re.compile(r"\b(apt-get|apk|pip|gcc|build-essential)\b")
    assert not installs.search(re.sub(r"^#.*$", "", FINAL, flags=re.MULTILINE))
    for command in re.findall(r"pip \S*(?: \S+)*? install [^&]+", DOCKERFILE.replace("\\\n", " ")):
        assert "--require-hashes" in command or "--no-index" in command


def test_the_version_label_is_the_packages() -> None:
    from streameval import __version__

    assert f"ARG VERSION={__version__}\n" in DOCKERFILE


def test_what_is_copied_is_what_the_context_lets_through() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == allowed


def test_the_daemon_listens_where_the_health_check_and_the_chart_look() -> None:
    command = json.loads(re.findall(r"^CMD (\[.+\])$", FINAL, re.MULTILINE)[-1])
    port = command[command.index("--port") + 1]
    assert command[command.index("--host") + 1] == "0.0.0.0"
    assert f"EXPOSE {port}\n" in FINAL
    assert f"http://127.0.0.1:{port}/healthz" in FINAL
    assert yaml.safe_load((DEPLOY / "chart" / "values.yaml").read_text())["port"] == int(port)


def test_the_configuration_and_the_state_are_where_the_chart_puts_them() -> None:
    pod = (DEPLOY / "chart" / "templates" / "statefulset.yaml").read_text()
    for place in ("/etc/streameval", "/var/lib/streameval"):
        assert f"mountPath: {place}\n" in pod
    assert "--config=/etc/streameval/streameval.yaml" in pod
    assert '"/etc/streameval/streameval.yaml"' in FINAL
    assert "VOLUME /var/lib/streameval\n" in FINAL
