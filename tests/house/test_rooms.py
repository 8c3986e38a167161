"""Data flows one way, and the pure rooms stay pure: read from the source, not from running it."""

import ast
from pathlib import Path

import pytest

import streameval

PACKAGE = Path(streameval.__file__).parent

# A room may import what stands before it, and SHARED; never what stands after it.
ROOMS = [
    "events",
    "join",
    "evidence",
    "evaluate",
    "detect",
    "decide",
    "engine",
    "transport",
    "subscribe",
    "serve",
    "daemon",
    "stories",
    "demo",
    "schema",
    "cli",
]
SHARED = {
    "errors": set(),
    "order": set(),
    "plain": set(),
    "config": {"errors", "plain"},
    "records": {"errors", "plain"},
    "logs": {"errors", "plain", "records"},
}
PURE = ROOMS[: ROOMS.index("transport")]
OUTSIDE = {
    "asyncio", "concurrent", "fcntl", "glob", "http", "io", "kafka", "logging", "mmap", "multiprocessing", "os",
    "pathlib", "pickle", "platform", "queue", "random", "rich", "secrets", "select", "shutil", "signal", "socket",
    "socketserver", "sqlite3", "ssl", "structlog", "subprocess", "sys", "tempfile", "threading", "time", "typer",
    "urllib", "uuid",
}  # fmt: skip
CLOCKS = {"now", "utcnow", "today"}
SEEDED = {"BitGenerator", "Generator", "PCG64", "Philox", "SFC64", "SeedSequence", "default_rng"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """(line, dotted name) of everything a module imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: a relative import hides its room"
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "streameval" else []
            yield from ((node.lineno, name) for name in names or [node.module])


def rooms_imported(path):
    for line, name in imports(path):
        head, _, rest = name.partition(".")
        if head == "streameval":
            yield line, rest.split(".")[0] or "__init__"


def impurities(tree):
    """(line, what) of each call that reads the world, the clock, or unseeded randomness."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in {"open", "print", "input", "exec", "eval"}:
                yield node.lineno, f"{called.id}()"
            if isinstance(called, ast.Attribute) and called.attr in CLOCKS and not node.args and not node.keywords:
                yield node.lineno, f".{called.attr}()"
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if name in SEEDED and not node.args and not node.keywords:
                yield node.lineno, f"{name}() without a seed"
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Attribute)
            and node.value.attr == "random"
            and isinstance(node.value.value, ast.Name)
            and node.value.value.id in {"np", "numpy"}
            and node.attr not in SEEDED
        ):
            yield node.lineno, f"numpy.random.{node.attr}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_its_own_room_earlier_rooms_and_shared_ones(path):
    room = room_of(path)
    if room in {"__init__", "testing"}:  # fakes for tests may use every room; no room may use them
        allowed = {*SHARED, *ROOMS, "testing"} if room == "testing" else set()
    elif room in SHARED:
        allowed = SHARED[room] | {room}
    else:
        assert room in ROOMS, f"{room} is a new room: give it its place in ROOMS"
        allowed = {*ROOMS[: ROOMS.index(room) + 1], *SHARED}
        if room in PURE:
            allowed.discard("logs")
    wrong = [f"{name_of(path)}:{line} imports {other}" for line, other in rooms_imported(path) if other not in allowed]
    assert not [found for found in wrong if not found.endswith(" __version__")]


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) in PURE], ids=name_of)
def test_a_pure_room_does_no_io_reads_no_clock_and_draws_no_unseeded_numbers(path):
    found = [f"{name_of(path)}:{line} imports {name}" for line, name in imports(path) if name.split(".")[0] in OUTSIDE]
    found += [f"{name_of(path)}:{line} uses {what}" for line, what in impurities(ast.parse(path.read_text("utf-8")))]
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "open('x')",
        "datetime.now()",
        "np.random.rand(3)",
        "np.random.default_rng()",
        "SFC64()",
        "print(1)",
        "date.today()",
    ],
)
def test_the_check_of_purity_sees_what_it_should(source):
    assert list(impurities(ast.parse(source)))


@pytest.mark.parametrize("source", ["np.random.default_rng(7)", "datetime.fromtimestamp(0, tz=UTC)", "rows.take(now)"])
def test_the_check_of_purity_lets_pure_code_pass(source):
    assert not list(impurities(ast.parse(source)))


def test_only_the_kafka_modules_of_transport_import_kafka():
    users = {name_of(path) for path in MODULES for _, name in imports(path) if name.split(".")[0] == "kafka"}
    assert all(name.startswith("transport/kafka") for name in users), users


def test_nothing_is_pickled():
    picklers = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    assert not [name_of(path) for path in MODULES for _, name in imports(path) if name.split(".")[0] in picklers]
