"""A real Apache Kafka on loopback, for tests: one broker or a cluster of three, by KRaft, on free ports.

Invariant: whatever a test does, no broker outlives the process that started it (Linux's parent-death signal), and a
broker that is stopped, killed or frozen comes back on the same ports and the same data.

The jars come from Maven Central by `pom.xml` beside this file (45 MB, once; kept in ``$XDG_CACHE_HOME`` or
``~/.cache``). Source: Apache Kafka 4.3 documentation, KRaft.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from certificates import Certificates

from tests.ports import free_port

KAFKA = "4.3.0"
CLUSTER_ID = "c3RyZWFtZXZhbC10ZXN0cw"
PR_SET_PDEATHSIG = 1
TAKEN = "Address already in use"
"""What a node says whose port another server has bound between the look and the start."""
ATTEMPTS = 3
_LIBC = ctypes.CDLL(None, use_errno=True)

SINGLE_NODE = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # A transaction that has timed out is found at once and not after ten seconds.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
    "auto.create.topics.enable": "false",
    "log.segment.delete.delay.ms": "100",
    # A killed node is let in again, and a dead leader noticed, after seconds and not after ten.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "300",
}


def libs() -> Path:
    """The folder of Kafka's jars, fetched by Maven at the first call on a machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streameval-kafka" / KAFKA
    cache.mkdir(parents=True, exist_ok=True)
    jars = cache / "libs"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes must not fetch into one folder
        if not jars.exists():
            if shutil.which("mvn") is None or shutil.which("java") is None:
                raise RuntimeError("the Kafka tests need Java 17 and Maven: apt-get install default-jre-headless maven")
            part = cache / "libs.part"
            shutil.rmtree(part, ignore_errors=True)
            command = ["mvn", "-q", "-B", "-f", str(Path(__file__).with_name("pom.xml"))]
            subprocess.run([*command, "dependency:copy-dependencies", f"-DoutputDirectory={part}"], check=True)
            part.rename(jars)
    return jars


def _die_with_parent() -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


_standing: dict[str, Broker] = {}


def standing(name: str, make: Callable[[], Broker]) -> Broker:
    """A started broker, the same for all of a run's tests that name it, wherever they lie; dies with this process."""
    if name not in _standing:
        _standing[name] = make().start()
        atexit.register(_standing[name].kill)
    return _standing[name]


@dataclass(slots=True)
class Secured:
    """Listeners with TLS and SASL beside the open one, an authorizer, and who may log in.

    ``users`` are the SASL users (name -> password), known to PLAIN and to SCRAM-SHA-512 alike; none has any right
    until a test grants it. The open listener's ANONYMOUS is the super user.
    """

    certificates: Certificates
    users: Mapping[str, str]


@dataclass(slots=True)
class Broker:
    """One Kafka node, broker and controller at once.

    Parameters
    ----------
    folder: where its configuration, data and log go.
    node: its id, from 1.
    voters: node id -> controller port of the whole cluster; None for a single node.
    settings: further lines of ``server.properties``.
    secured: TLS, SASL and ACLs; None for the open listener only.
    proxied: a port at which a test's proxy will listen: a listener ``PROXIED`` advertises it.
    """

    folder: Path
    node: int = 1
    voters: Mapping[int, int] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    secured: Secured | None = None
    proxied: int | None = None
    ports: dict[str, int] = field(init=False)
    process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._choose_ports()

    def _choose_ports(self) -> None:
        names = ["OPEN", "CONTROLLER"]
        if self.proxied is not None:
            names.append("PROXIED")
        if self.secured is not None:
            names += ["TLS", "MTLS", "SASL", "SASLTLS"]
        self.ports = {name: free_port() for name in names}
        if self.voters is not None:
            self.ports["CONTROLLER"] = self.voters[self.node]

    @property
    def bootstrap(self) -> str:
        """``host:port`` of the open listener."""
        return self.address("OPEN")

    def address(self, listener: str) -> str:
        """``host:port`` at which clients of one listener bootstrap."""
        if listener == "PROXIED" and self.proxied is not None:
            return f"127.0.0.1:{self.proxied}"
        return f"127.0.0.1:{self.ports[listener]}"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def _properties(self) -> str:
        voters = self.voters or {self.node: self.ports["CONTROLLER"]}
        advertised = [n for n in self.ports if n != "CONTROLLER"]
        protocols = {"OPEN": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", "PROXIED": "PLAINTEXT", "TLS": "SSL",
                     "MTLS": "SSL", "SASL": "SASL_PLAINTEXT", "SASLTLS": "SASL_SSL"}  # fmt: skip
        lines: dict[str, str] = {
            "process.roles": "broker,controller",
            "node.id": str(self.node),
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{p}" for n, p in voters.items()),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "OPEN",
            "listeners": ",".join(f"{n}://127.0.0.1:{p}" for n, p in self.ports.items()),
            "advertised.listeners": ",".join(f"{n}://{self.address(n)}" for n in advertised),
            "listener.security.protocol.map": ",".join(f"{n}:{protocols[n]}" for n in self.ports),
            "log.dirs": str(self.folder / "data"),
            **SINGLE_NODE,
        }
        if self.secured is not None:
            lines |= self._security(self.secured)
        lines |= self.settings
        return "".join(f"{key}={value}\n" for key, value in lines.items())

    def _security(self, secured: Secured) -> dict[str, str]:
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required " + " ".join(
            f'user_{name}="{password}"' for name, password in secured.users.items()
        )
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required"
        lines = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(secured.certificates.server_keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(secured.certificates.authority),
            "listener.name.mtls.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        }
        for listener in ("sasl", "sasltls"):
            lines[f"listener.name.{listener}.plain.sasl.jaas.config"] = plain + ";"
            lines[f"listener.name.{listener}.scram-sha-512.sasl.jaas.config"] = scram + ";"
        return lines

    def _java(self, *arguments: str) -> list[str]:
        options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=INFO"]
        return ["java", *options, "-cp", f"{libs()}/*", *arguments]

    def format(self) -> None:
        """Writes the configuration and formats the data folder, unless that was done before."""
        if (self.folder / "data" / "meta.properties").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text(self._properties())
        arguments = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
        for name, password in (self.secured.users if self.secured else {}).items():
            arguments += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]"]
        done = subprocess.run(self._java(*arguments), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"Kafka's storage could not be formatted: {done.stdout}{done.stderr}")

    def launch(self) -> int:
        """Starts the process without waiting for it; returns where its log begins."""
        if self.process is not None:
            raise RuntimeError(f"broker {self.node} already runs")
        self.format()
        begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._java("kafka.Kafka", str(self.folder / "server.properties")),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - a test that crashes must not leave a broker behind
                start_new_session=True,
            )
        return begin

    def wait(self, begin: int, timeout: float = 90.0) -> None:
        """Waits until the node started last says that it serves."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with self.log.open("rb") as log:
                log.seek(begin)
                text = log.read()
            if b"Kafka Server started" in text:
                return
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"broker {self.node} ended at its start:\n{text.decode(errors='replace')[-4000:]}")
            time.sleep(0.05)
        raise RuntimeError(f"broker {self.node} is not ready after {timeout:.0f} s, see {self.log}")

    def start(self) -> Broker:
        """Starts it and waits; at its first start, before anybody knows them, on other ports where some are taken."""
        for left in reversed(range(1 if self.log.exists() else ATTEMPTS)):
            try:
                self.wait(self.launch())
                break
            except RuntimeError:
                if not left or not self.found_a_port_taken:
                    raise
                self.reset()
        return self

    @property
    def found_a_port_taken(self) -> bool:
        return TAKEN in self.log.read_text(errors="replace")

    def reset(self) -> None:
        """As if it had never been started, on other ports."""
        self.kill()
        shutil.rmtree(self.folder)
        self._choose_ports()

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def stop(self) -> None:
        """A clean shutdown (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def restart(self, *, clean: bool = True) -> Broker:
        """Ends the node (cleanly, or by kill -9) and starts it again on the same data and ports."""
        if clean:
            self.stop()
        else:
            self.kill()
        return self.start()

    def revive(self) -> Broker:
        """Lets it run again, whatever became of it."""
        if self.process is not None and self.process.poll() is None:
            self.thaw()
            return self
        self.process = None
        return self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.freeze()
        try:
            yield
        finally:
            self.thaw()


class Cluster:
    """Brokers that form one KRaft quorum and replicate every topic to all of them, with ``min.insync.replicas`` 2."""

    def __init__(self, folder: Path, n: int = 3, settings: Mapping[str, str] | None = None) -> None:
        voters = {node: free_port() for node in range(1, n + 1)}
        self.voters = voters
        replicas, insync = str(n), str(min(2, n))
        replicated = {
            "default.replication.factor": replicas,
            "min.insync.replicas": insync,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": insync,
            **(settings or {}),
        }
        self.brokers = {
            node: Broker(folder / f"node-{node}", node=node, voters=voters, settings=replicated) for node in voters
        }

    @property
    def bootstrap(self) -> list[str]:
        return [broker.bootstrap for broker in self.brokers.values()]

    def start(self) -> Cluster:
        """Starts all and waits for them; on other ports where some are taken."""
        for left in reversed(range(ATTEMPTS)):
            try:
                begins = {node: broker.launch() for node, broker in self.brokers.items()}
                for node, begin in begins.items():
                    self.brokers[node].wait(begin)
                break
            except RuntimeError:
                if not left or not any(broker.found_a_port_taken for broker in self.brokers.values()):
                    raise
                self.voters.update({node: free_port() for node in self.brokers})
                for broker in self.brokers.values():
                    broker.reset()
        return self

    def stop(self) -> None:
        for broker in self.brokers.values():
            broker.kill()
