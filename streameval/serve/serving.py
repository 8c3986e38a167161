"""The page, the probes and the metrics of a running worker, from a thread of their own.

The loop hands over what it has published and how it stands, by appending to a queue and by swapping a reference; it
never waits for anybody here. Requests are answered by one thread (`streameval-serve`), pictures and metrics are made by
another (`streameval-paint`), which alone folds records into the picture, so that a probe never waits for a picture.
Each answer is made once for all who ask, and only when something has changed; together they get a small share of one
processor (`Allowance`), whoever asks for more waits.

Invariant: nothing that a client does, or leaves undone, holds the loop up; what waits to be folded is bounded by `HELD`
bytes, and what is left out beyond it is counted.
"""

from __future__ import annotations

import asyncio
import errno
import gzip
import socket
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import islice
from types import TracebackType
from typing import Final, Generic, Self, TypeVar
from urllib.parse import parse_qs

import msgspec
import structlog

from streameval.errors import ServeError, StreamevalError
from streameval.serve.allowance import Allowance
from streameval.serve.assets import plotly_js, text
from streameval.serve.live import POLICY, LivePage
from streameval.serve.picture import Picture
from streameval.serve.probes import Verdict, liveness, readiness
from streameval.serve.prometheus import About, Exposition
from streameval.serve.server import Answer, Server
from streameval.serve.snapshot import Snapshot
from streameval.serve.standing import worker_standing
from streameval.serve.vitals import Pulse, Vitals
from streameval.transport.protocol import Record

__all__ = ["HELD", "POINTS", "Serving"]

HELD: Final = 32 * 2**20
"""Bytes of records that may wait to be folded."""
POINTS: Final = 20_000
"""Metric points kept for the page: 54 MB at most."""
FOLD_EVERY: Final = 0.5
"""Seconds between two looks for new records."""
_PIECE: Final = 100
"""Records folded at once, so that nobody who waits for a picture waits long."""
_READ_BACK: Final = 0.2
"""Of one processor, for reading back what was published before."""
_PROBES: Final = ("/healthz", "/readyz")
_FILES: Final = {
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}

log = structlog.get_logger("streameval.serve")

T = TypeVar("T")


class Serving:
    """Serves while it is entered.

    Args:
        host, port: Where to listen; port 0 takes a free one, see `port`.
        about: Which worker it is.
        pulse: The loop's signs of life.
        segments: Segments of a model's version that are named in metrics and keep a past.
        stalled_after: Seconds of standing still after which the loop counts as stuck.
        past: Gives what was published before, per topic in order; read in the background.

    Raises:
        ServeError: Nobody may listen there, on entering.
    """

    def __init__(
        self,
        host: str,
        port: int,
        about: About,
        pulse: Pulse,
        *,
        segments: int = 50,
        stalled_after: float = 120.0,
        past: Callable[[], Iterable[Record]] | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.about = about
        self.pulse = pulse
        self.stalled_after = stalled_after
        self.past = past
        self.left_out = 0
        """Records that were never folded, because more than `HELD` bytes of them waited."""
        self._vitals: Vitals | None = None
        self._waiting: deque[list[Record]] = deque()
        self._picture = Picture(Snapshot(points=POINTS, segments=segments))
        self._page = LivePage("streameval", self._picture)
        self._exposition = Exposition(about, self._picture, lambda: self._vitals)
        self._allowance = Allowance()
        self._painter = ThreadPoolExecutor(1, thread_name_prefix="streameval-paint")
        self._thread = threading.Thread(target=self._run, name="streameval-serve", daemon=True)
        self._ended: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listening: socket.socket | None = None
        self._begun = threading.Event()
        self._closing = threading.Event()
        self._settled = past is None
        self._used = 0.0

    # -- called by the loop --------------------------------------------------------------------------------------------

    def feed(self, records: list[Record]) -> None:
        """Take what a commit has made visible; returns at once."""
        self._waiting.append(records)

    def beat(self, vitals: Vitals) -> None:
        """Take the loop's vitals; returns at once."""
        self._vitals = vitals

    # -- life ----------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._listening = _listen(self.host, self.port)
        self.port = self._listening.getsockname()[1]
        self._thread.start()
        self._begun.wait()
        log.info("serving", host=self.host, port=self.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        if self._loop is not None and self._ended is not None:
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(timeout=2.0)
        self._painter.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._begun.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._metrics = _Made(self, self._paint_metrics)
        self._standing = _Made(self, self._paint_standing)
        self._first = _Made(self, self._paint_document)
        self._plotly = asyncio.Lock()
        self._compressed: bytes | None = None
        server = Server(self._answer)
        folding = asyncio.create_task(self._fold())
        if self.past is not None:
            threading.Thread(target=self._read_back, name="streameval-past", daemon=True).start()
        assert self._listening is not None  # noqa: S101 - entered
        self._begun.set()
        await server.serve(self._listening, self._ended)
        folding.cancel()

    # -- records -------------------------------------------------------------------------------------------------------

    async def _fold(self) -> None:
        """Fold what the loop has handed over; while the past is read back, it waits its turn."""
        held: deque[Record] = deque()
        size = 0
        while True:
            await asyncio.sleep(FOLD_EVERY)
            while self._waiting:
                for record in self._waiting.popleft():
                    held.append(record)
                    size += len(record.value or b"")
            while size > HELD:
                size -= len(held.popleft().value or b"")
                self.left_out += 1
            while held and self._settled:
                part = [held.popleft() for _ in range(min(_PIECE, len(held)))]
                size -= sum(len(record.value or b"") for record in part)
                await self._painted(partial(self._take, part))

    def _take(self, records: list[Record]) -> None:
        for record in records:
            self._picture.take(record)

    def _read_back(self) -> None:
        """Read what was published before, slowly; what cannot be read is missing on the page, and that is all."""
        assert self.past is not None  # noqa: S101 - see _serve
        allowance = Allowance(_READ_BACK)
        used = time.thread_time()
        count = 0
        try:
            for part in _parts(self.past()):
                done = self._painter.submit(self._take_back, part)
                cost = done.result()
                now = time.thread_time()
                allowance.spend(cost + now - used)
                used = now
                count += len(part)
                if self._closing.wait(allowance.missing()):
                    return
        except StreamevalError as error:
            log.warning("past_unknown", error=str(error))
        if self._closing.is_set():
            return
        self._painter.submit(self._picture.settle).result()
        self._settled = True
        log.info("past_known", records=count)

    def _take_back(self, records: list[Record]) -> float:
        began = time.thread_time()
        for record in records:
            self._picture.read_back(record)
        return time.thread_time() - began

    # -- answers -------------------------------------------------------------------------------------------------------

    async def _answer(self, path: str, query: str, headers: dict[str, str]) -> Answer:
        if path in _PROBES:
            return self._probe(path)
        used = time.thread_time()
        self._allowance.spend(used - self._used)
        self._used = used
        await self._allowance.granted()
        match path:
            case "/":
                return await self._first.get(self._moment())
            case "/page.json":
                return await self._update(query)
            case "/metrics":
                return await self._metrics.get(self._moment())
            case "/snapshot.json":
                return await self._standing.get(self._moment())
            case "/plotly.js":
                return await self._library(headers)
            case "/page.js" | "/page.css":
                name, kind = _FILES[path]
                return Answer(text(name).encode(), kind, headers=(("cache-control", "no-cache"),))
            case _:
                return Answer(b'{"error":"nothing is here"}', status=404)

    def _probe(self, path: str) -> Answer:
        verdict = self._live() if path == "/healthz" else self._ready()
        said = {"status": "ok" if verdict.good else "failing", "reason": verdict.reason}
        return Answer(msgspec.json.encode(said), status=200 if verdict.good else 503, headers=_FRESH)

    def _live(self) -> Verdict:
        return liveness(self.pulse, time.monotonic(), self.stalled_after)

    def _ready(self) -> Verdict:
        return readiness(self.pulse, self._vitals)

    def _moment(self) -> tuple[object, ...]:
        """What answers depend on: as long as it is the same, so are they."""
        return (self._picture.changes, self._vitals, self._live().good, self._ready().good)

    def _paint_metrics(self) -> Answer:
        body, kind = self._exposition.text()
        return Answer(body, kind, headers=_FRESH)

    def _paint_standing(self) -> Answer:
        told = worker_standing(self.about, self._picture.snapshot, self._vitals, self._live(), self._ready())
        return Answer(msgspec.json.encode(told), headers=_FRESH)

    def _paint_document(self) -> Answer:
        page = self._page.document(self._vitals, self._live(), self._ready())
        return Answer(page.encode(), "text/html; charset=utf-8", headers=(*_FRESH, ("content-security-policy", POLICY)))

    async def _update(self, query: str) -> Answer:
        asked = parse_qs(query).get("series")
        wanted = None if asked is None else frozenset(asked[0].split(","))
        return await self.paint(partial(self._paint_update, wanted))

    def _paint_update(self, wanted: frozenset[str] | None) -> Answer:
        news = self._page.update(self._vitals, self._live(), self._ready(), wanted)
        return Answer(msgspec.json.encode(news), headers=_FRESH)

    async def _library(self, headers: dict[str, str]) -> Answer:
        async with self._plotly:
            if self._compressed is None:
                # Compressing 4.6 MB leaves the interpreter to others.
                self._compressed = await asyncio.to_thread(partial(gzip.compress, _plotly_bytes(), 6, mtime=0))
        kind = "text/javascript; charset=utf-8"
        kept = ("cache-control", "max-age=86400")
        if "gzip" not in headers.get("accept-encoding", ""):
            return Answer(_plotly_bytes(), kind, headers=(kept,))
        return Answer(self._compressed, kind, headers=(kept, ("content-encoding", "gzip")))

    async def _painted(self, work: Callable[[], T]) -> T:
        """Done by the one thread that touches the picture."""
        return await asyncio.get_running_loop().run_in_executor(self._painter, work)

    async def paint(self, work: Callable[[], T]) -> T:
        """Done by that thread, at the expense of the allowance."""

        def measured() -> tuple[T, float]:
            began = time.thread_time()
            return work(), time.thread_time() - began

        done, cost = await self._painted(measured)
        self._allowance.spend(cost)
        return done

    @property
    def exhausted(self) -> bool:
        """Whether the allowance is used up for now."""
        return self._allowance.missing() > 0


_FRESH: Final = (("cache-control", "no-store"),)


class _Made(Generic[T]):
    """One answer, made once for all who ask at the same moment; an old one does while the allowance is used up."""

    def __init__(self, serving: Serving, make: Callable[[], T]) -> None:
        self._serving = serving
        self._make = make
        self._made: tuple[tuple[object, ...], T] | None = None
        self._making: Awaitable[T] | None = None

    async def get(self, moment: tuple[object, ...]) -> T:
        """The answer at this moment."""
        if self._made is not None and (_same(self._made[0], moment) or self._serving.exhausted):
            return self._made[1]
        if self._making is None:
            self._making = asyncio.ensure_future(self._renewed(moment))
        return await asyncio.shield(self._making)

    async def _renewed(self, moment: tuple[object, ...]) -> T:
        try:
            made = await self._serving.paint(self._make)
            self._made = (moment, made)
            return made
        finally:
            self._making = None


def _same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    # Vitals are compared by identity: the loop makes new ones, and never changes any.
    return len(one) == len(other) and all(
        a is b or (isinstance(a, int) and a == b) for a, b in zip(one, other, strict=True)
    )


@cache
def _plotly_bytes() -> bytes:
    return plotly_js().encode()


def _parts(records: Iterable[Record]) -> Iterator[list[Record]]:
    rest = iter(records)
    while part := list(islice(rest, _PIECE)):
        yield part


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        cures = {
            errno.EADDRINUSE: "another process listens there: stop it, or choose another port by --port or serve.port",
            errno.EACCES: "ports below 1024 need privileges: choose another by --port or serve.port",
            errno.EADDRNOTAVAIL: "this machine has no such address: use 127.0.0.1, or 0.0.0.0 for all, as serve.host",
        }
        cure = cures.get(error.errno or 0, "choose another address by --host and --port, or serve.host and serve.port")
        raise ServeError(f"cannot listen: {error.strerror or error}", where=f"{host}:{port}", cure=cure) from error
    return listening
