"""A small HTTP/1.1 server for a few readers: bounded in connections, in time, and in what a request may hold.

Invariant: no client can hold more than one connection's worth of memory, for longer than `PATIENCE` without progress;
a client too many takes the place of the one that has waited longest, so whoever is stuck is the first to go, and probes
are always answered. Only GET and HEAD are understood.

Source: RFC 9110 and 9112, by way of h11.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import h11
import msgspec

__all__ = ["CONNECTIONS", "PATIENCE", "Answer", "Answers", "Server"]

CONNECTIONS: Final = 128
"""Open at once."""
PATIENCE: Final = 10.0
"""Seconds without progress, in either direction, after which a connection is closed."""
IDLE: Final = 75.0
"""Seconds that a connection may stay open between two requests."""
_HEAD: Final = 16_384
_PIECE: Final = 65_536


class Answer(msgspec.Struct, frozen=True):
    """What is sent back."""

    body: bytes
    kind: str = "application/json"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


Answers = Callable[[str, str, dict[str, str]], Awaitable[Answer]]
"""From path, query and headers (names in lower case) to what is sent back."""


class Server:
    """Answers requests on a socket that listens already.

    Args:
        answers: What to send back.
        connections: How many may be open at once.
        patience: Seconds without progress.
    """

    def __init__(self, answers: Answers, *, connections: int = CONNECTIONS, patience: float = PATIENCE) -> None:
        self.answers = answers
        self.connections = connections
        self.patience = patience
        # In the order of their last sign of life, the longest silent first.
        self._open: dict[_Client, None] = {}
        self._tasks: dict[asyncio.Task[None], _Client] = {}

    async def serve(self, listening: socket.socket, until: asyncio.Event) -> None:
        """Serve until the event is set; then close what is open."""
        # What the system keeps for a reader who does not read counts as our memory too.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _PIECE)
        server = await asyncio.start_server(self._begin, sock=listening, limit=_PIECE)
        async with server:
            await until.wait()
        rest = list(self._tasks)
        for client in list(self._open):
            self._leave(client)
        await asyncio.gather(*rest, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(self._open) >= self.connections:
            self._leave(next(iter(self._open)))
        client = _Client(reader, writer, self.patience)
        self._open[client] = None
        client.task = asyncio.create_task(self._attend(client))
        # Only the one who made a task keeps it from being collected.
        self._tasks[client.task] = client
        client.task.add_done_callback(self._tasks.pop)

    def _leave(self, client: _Client) -> None:
        del self._open[client]
        client.drop()
        if client.task is not None:
            client.task.cancel()

    async def _attend(self, client: _Client) -> None:
        try:
            await self._converse(client)
            await client.close()
        except (OSError, TimeoutError, h11.LocalProtocolError):
            client.drop()  # gone, or stuck: there is nobody to tell
        finally:
            self._open.pop(client, None)

    async def _converse(self, client: _Client) -> None:
        while True:
            try:
                request = await client.request()
            except h11.RemoteProtocolError as error:
                await client.refuse(error)
                return
            if request is None:
                return
            # A sign of life: to the end of the queue.
            del self._open[client]
            self._open[client] = None
            answer = await self._answer(request)
            await client.send(answer, bare=request.method == b"HEAD")
            if not client.goes_on():
                return

    async def _answer(self, request: h11.Request) -> Answer:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        if request.method not in (b"GET", b"HEAD"):
            allow = (("allow", "GET, HEAD"),)
            return Answer(b'{"error":"only GET and HEAD"}', status=HTTPStatus.METHOD_NOT_ALLOWED, headers=allow)
        path, _, query = request.target.decode("latin-1").partition("?")
        return await self.answers(path, query, headers)


class _Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: float) -> None:
        self.reader = reader
        self.writer = writer
        self.patience = patience
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD)
        self.used = False
        self.task: asyncio.Task[None] | None = None

    async def request(self) -> h11.Request | None:
        """The next request, its body passed over; None where the client has left."""
        found: h11.Request | None = None
        taken = 0
        # Between two requests a client may rest; within one it may not.
        async with asyncio.timeout(IDLE if self.used else self.patience) as limit:
            while True:
                event = self.http.next_event()
                if event is h11.NEED_DATA:
                    data = await self.reader.read(_PIECE)
                    if taken == 0:
                        limit.reschedule(asyncio.get_running_loop().time() + self.patience)
                    taken += len(data)
                    if taken > 2 * _HEAD:
                        raise h11.RemoteProtocolError("a request for nothing we have")
                    self.http.receive_data(data)
                elif isinstance(event, h11.Request):
                    found = event
                elif isinstance(event, h11.EndOfMessage):
                    self.used = True
                    return found
                elif not isinstance(event, h11.Data):
                    return None

    async def send(self, answer: Answer, *, bare: bool) -> None:
        """Send an answer; ``bare``: its head alone."""
        headers = [
            ("content-type", answer.kind),
            ("content-length", str(len(answer.body))),
            ("x-content-type-options", "nosniff"),
            *answer.headers,
        ]
        head = self.http.send(h11.Response(status_code=answer.status, headers=headers))
        body = memoryview(b"" if bare else answer.body)
        if not bare:
            self.http.send_with_data_passthrough(h11.Data(data=answer.body))
        # Each call of the system is a chance for the loop's thread to wait for ours: small answers go in one.
        self.writer.write((head or b"") + body[:_PIECE])
        # Piece by piece: a buffer of our own for each of many slow readers of a large file would be memory lost.
        for start in range(_PIECE, len(body), _PIECE):
            await self._flushed()
            self.writer.write(body[start : start + _PIECE])
        self.http.send(h11.EndOfMessage())
        await self._flushed()

    async def _flushed(self) -> None:
        async with asyncio.timeout(self.patience):
            await self.writer.drain()

    def goes_on(self) -> bool:
        """Whether a further request may come on this connection."""
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
            return False
        self.http.start_next_cycle()
        return True

    async def refuse(self, error: h11.RemoteProtocolError) -> None:
        """Tell a client that what it sent is no request, where it can still be told."""
        if self.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            said = msgspec.json.encode({"error": str(error)})
            close = (("connection", "close"),)
            await self.send(Answer(said, status=error.error_status_hint, headers=close), bare=False)

    async def close(self) -> None:
        """Close when all is sent.

        Raises:
            TimeoutError: Nobody takes it.
        """
        async with asyncio.timeout(self.patience):
            self.writer.close()
            await self.writer.wait_closed()

    def drop(self) -> None:
        """Close at once: what is not sent is lost, by the system's buffers too."""
        end = self.writer.get_extra_info("socket")
        if end is not None and end.fileno() >= 0:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
