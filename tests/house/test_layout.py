"""The top of the checkout is what a newcomer expects, and no file speaks of the machine that it was written on."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import streameval

ROOT = Path(__file__).parents[2]
NEEDED = {"CHANGELOG.md", "LICENSE", "README.md", "config", "pyproject.toml", "streameval", "tests"}
ALLOWED = NEEDED | {".ci", ".dockerignore", ".gitattributes", ".github", ".gitignore", "deploy"}
# Written with brackets, so that this file does not hold what it looks for.
FORBIDDEN = re.compile(r"/wor[k]/|/tmp/[v]env|/tmp/[b]rief|/roo[t]/|\b(?:TOD[O]|FIXM[E]|XX[X]|HAC[K])\b")


def files():
    """The files of the project: those under version control and new ones, without what is ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        names = listed.stdout.splitlines()
    else:  # a source archive has no history
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
    hidden = {".cache", ".git", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv", "__pycache__"}
    return [ROOT / name for name in names if (ROOT / name).is_file() and not hidden & set(Path(name).parts)]


def test_the_top_level_holds_what_it_should_and_nothing_else():
    top = {path.relative_to(ROOT).parts[0] for path in files()}
    assert top >= NEEDED, f"missing: {NEEDED - top}"
    assert top <= ALLOWED, f"does not belong here: {top - ALLOWED}"


def test_no_file_names_the_machine_it_was_written_on_or_leaves_work_open():
    found = []
    for path in files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # data
        found += [f"{path.relative_to(ROOT)}:{n}" for n, line in enumerate(lines, 1) if FORBIDDEN.search(line)]
    assert not found


def test_the_changelog_tells_of_this_version():
    said = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## Unreleased" in said or f"## {streameval.__version__}" in said


def test_the_licence_is_the_one_that_the_package_declares():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license"]
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert declared == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


@pytest.mark.parametrize("script", [".ci/run", "tests/run"])
def test_the_scripts_can_be_run_and_parse(script):
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_a_tests_room_is_named_after_a_room_of_the_package():
    rooms = {path.stem for path in Path(streameval.__file__).parent.iterdir()} | {"house", "kafka", "deploy"}
    found = {path.relative_to(ROOT / "tests").parts[0] for path in files() if path.is_relative_to(ROOT / "tests")}
    assert {name for name in found if not name.endswith((".py", "run"))} <= rooms
