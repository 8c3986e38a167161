"""The image against a real Kafka: hardened, killed and restarted on its volume, stopped, and with an empty volume.

What a foreign read_committed reader sees in the end must be, byte for byte, what one clean pass over the same logs
gives, which knows no container, crash or volume. `by_hand.sh` builds the image and calls this.

    PYTHONPATH=.:tests/kafka python tests/deploy/by_hand.py IMAGE
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml
from broker import Broker
from events_stream import Stream
from scene import Scene, counted

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
STATE = "/var/lib/streameval"
VOLUME = "streameval-by-hand"
NAME = "streameval-by-hand"
PODMAN = ["podman", *os.environ.get("PODMAN_OPTIONS", "--runtime runc").split()]
HARDENED = [
    *("--network", "host", "--read-only", "--read-only-tmpfs=false", "--user", "10001:10001", "--cap-drop", "all"),
    *("--security-opt", "no-new-privileges", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
]

began = time.monotonic()


def say(*words: object) -> None:
    print(f"{time.monotonic() - began:6.1f} s ", *words, flush=True)


def podman(*arguments: str, fails: bool = False) -> str:
    done = subprocess.run([*PODMAN, *arguments], capture_output=True, text=True, check=False)
    if (done.returncode != 0) is not fails:
        raise SystemExit(f"podman {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return (done.stderr if fails else done.stdout).strip()


def health(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()
    except OSError as error:
        return 0, str(error)


def start(image: str, config: Path, port: int, *more: str) -> None:
    """A container on the volume, and the wait until it has caught up."""
    since = time.monotonic()
    podman(
        *("run", "--detach", "--name", NAME, *HARDENED, "--volume", f"{config}:/etc/streameval:ro"),
        *("--volume", f"{VOLUME}:{STATE}", image),
        *("run", "--config", "/etc/streameval/streameval.yaml", "--port", str(port), *more),
    )
    alive = None
    while True:
        answer, text = health(port, "/readyz")
        if answer and alive is None:
            alive = time.monotonic() - since
        if answer == 200:
            break
        if time.monotonic() - since > 120:
            raise SystemExit(f"not ready: {answer} {text}\n{logs()}")
        time.sleep(0.1)
    say(f"started: answers after {alive:.1f} s, ready after {time.monotonic() - since:.1f} s ({text})")


def logs() -> str:
    done = subprocess.run([*PODMAN, "logs", NAME], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def said(event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in logs().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == event]


def remove() -> None:
    podman("rm", "--force", "--ignore", NAME)


def published(scene: Scene) -> str:
    return ", ".join(f"{number} {topic}" for topic, number in sorted(counted(scene.published()).items()))


def main(image: str) -> None:
    remove()
    podman("volume", "rm", "--force", VOLUME)
    facts = json.loads(podman("image", "inspect", image))[0]
    runs = facts["Config"]
    say(f"image {image}: {facts['Size'] / 2**20:.0f} MiB, user {runs['User']}, entry {runs['Entrypoint']}")
    for tool in ("gcc", "cc", "ld", "make"):
        look = ["run", "--rm", *HARDENED, "--entrypoint", "sh", image, "-c", f"command -v {tool}"]
        podman(*look, fails=True)
    say("no gcc, cc, ld or make in it")
    say(f"its streameval is this checkout's: {same_package(image)} files, byte for byte")

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        broker = Broker(folder / "broker").start()
        try:
            say("Apache Kafka is up")
            play(image, folder, broker)
        finally:
            remove()
            podman("volume", "rm", "--force", VOLUME)
            broker.kill()
    say("PASSED")


def play(image: str, folder: Path, broker: Broker) -> None:
    scene = Scene([broker.bootstrap], folder, state=STATE)
    scene.make_topics()
    config = folder / "config"
    config.mkdir()
    (config / "streameval.yaml").write_text(yaml.safe_dump(scene.config))
    port = free_port()
    slices = list(Stream(seed=11, predictions=8_000))

    for part in slices[:6]:
        scene.feed(part)
    start(image, config, port)
    say("as", podman("exec", NAME, "id"))
    refused = podman("exec", NAME, "touch", "/opt/streameval/x", fails=True)
    say("the root file system:", refused.splitlines()[-1])
    say("capabilities:", podman("exec", NAME, "grep", "CapEff", "/proc/1/status"))
    check = facts_of_health(image)
    podman("exec", NAME, *[word.replace("8080", str(port)) for word in check])
    say("the image's own health check passes")

    for number, until in enumerate((10, 14), 1):
        for part in slices[until - 4 : until]:
            scene.feed(part)
            time.sleep(0.15)
        podman("kill", "--signal", "KILL", NAME)
        say(f"killed (-9) while it read, time {number}; published so far: {published(scene)}")
        remove()
        start(image, config, port)

    for part in slices[14:17]:
        scene.feed(part)
    time.sleep(0.5)
    since = time.monotonic()
    podman("stop", "--time", "60", NAME)
    took = time.monotonic() - since
    code = json.loads(podman("container", "inspect", NAME))[0]["State"]["ExitCode"]
    if code != 0 or took > 5:
        raise SystemExit(f"SIGTERM: exit code {code} after {took:.1f} s\n{logs()}")
    say(f"SIGTERM: exit code {code} after {took:.1f} s; the last line: {logs().splitlines()[-1][:160]}")
    remove()

    podman("volume", "rm", VOLUME)
    for part in slices[17:]:
        scene.feed(part)
    start(image, config, port)
    say(
        "the volume was empty:",
        *[{k: line[k] for k in ("mode", "commit", "waiting") if k in line} for line in said("started")],
    )
    time.sleep(2)
    while health(port, "/readyz")[0] != 200:
        time.sleep(0.1)
    pid = json.loads(podman("container", "inspect", NAME))[0]["State"]["Pid"]
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    say("memory:", status["VmRSS"].strip(), "now,", status["VmHWM"].strip(), "at most")
    podman("stop", "--time", "60", NAME)
    seen = scene.check()
    scene.close()
    say(
        f"what was published is, byte for byte, one clean pass: {sum(counted(seen).values())} records;",
        published(scene),
    )


def same_package(image: str) -> int:
    """How many files of this checkout's package the image holds, none differing, missing or added."""
    look = (
        "import hashlib, pathlib, streameval; root = pathlib.Path(streameval.__file__).parent; "
        "[print(hashlib.sha256(path.read_bytes()).hexdigest(), path.relative_to(root))"
        " for path in root.rglob('*') if path.is_file() and '__pycache__' not in path.parts]"
    )
    told = podman("run", "--rm", *HARDENED, "--entrypoint", "python", image, "-I", "-c", look)
    inside = {name: digest for digest, name in (line.split(" ", 1) for line in told.splitlines())}
    root = ROOT / "streameval"
    ours = {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    other = sorted(name for name in inside.keys() | ours.keys() if inside.get(name) != ours.get(name))
    if other:
        raise SystemExit(f"the image was not built from this checkout: {', '.join(other)}")
    return len(ours)


def facts_of_health(image: str) -> list[str]:
    told = json.loads(podman("image", "inspect", image))[0]
    check = (told.get("Healthcheck") or told["Config"]["Healthcheck"])["Test"]
    return list(check[1:])


if __name__ == "__main__":
    main(sys.argv[1])
