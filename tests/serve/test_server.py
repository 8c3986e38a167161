"""The HTTP server keeps its word whatever a client does."""

import asyncio
import contextlib
import socket
import threading

import pytest
from served import wait_for

from streameval.serve.server import Answer, Server

LARGE = b"x" * 8_000_000


async def answers(path, query, headers):
    if path == "/large":
        return Answer(LARGE, "text/plain")
    return Answer(f"{path}?{query}".encode(), "text/plain")


@contextlib.contextmanager
def running(**options):
    """The port of a server with its own thread, and the server."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    started, told = threading.Event(), {}

    async def main():
        told["loop"], told["end"], told["server"] = (
            asyncio.get_running_loop(),
            asyncio.Event(),
            Server(answers, **options),
        )
        started.set()
        await told["server"].serve(listening, told["end"])

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    started.wait()
    try:
        yield listening.getsockname()[1], told["server"]
    finally:
        told["loop"].call_soon_threadsafe(told["end"].set)
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def port():
    with running(patience=0.4) as (port, _):
        yield port


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def said(client, text):
    client.sendall(text.encode())
    return whole(client)


def whole(client):
    """All that comes until the other side closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def answer(client):
    """One answer of a connection that stays open."""
    came = b""
    while not came.endswith(b"?"):
        came += client.recv(4096)
    return came


def probe(port):
    with connect(port) as client:
        return said(client, "GET /a?b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")


def test_a_request_is_answered_with_its_length_and_kind(port):
    head, _, body = probe(port).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length: 4" in head.lower()
    assert body == b"/a?b"


def test_a_connection_serves_one_request_after_the_other(port):
    with connect(port) as client:
        for path in ("/one", "/two"):
            client.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            assert answer(client).endswith(f"{path}?".encode())


def test_a_head_has_no_body_and_another_method_is_refused(port):
    with connect(port) as client:
        assert said(client, "HEAD /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").endswith(b"\r\n\r\n")
    with connect(port) as client:
        post = "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
        assert said(client, post).startswith(b"HTTP/1.1 405")


@pytest.mark.parametrize(
    "text",
    ["no request at all\r\n\r\n", f"GET /{'a' * 40_000} HTTP/1.1\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n"],
    ids=["not http", "too long", "malformed"],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(port, text):
    with connect(port) as client:
        assert said(client, text)[9:10] == b"4"
    assert probe(port)


@pytest.mark.parametrize("begun", ["", "GET / HT", "GET / HTTP/1.1\r\nhost:"])
def test_a_client_that_stops_in_the_middle_is_left(port, begun):
    with connect(port) as client:
        assert said(client, begun) == b""


def test_a_client_that_trickles_is_left_too(port):
    with connect(port) as client, contextlib.suppress(OSError):
        for letter in "GET / HTTP/1.1":
            client.sendall(letter.encode())
            threading.Event().wait(0.1)
        assert client.recv(10) == b""


def test_a_client_that_does_not_read_is_left_and_costs_one_buffer():
    with running(patience=0.4) as (port, server), connect(port) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        wait_for(lambda: not server._open, 5)
        assert len(whole(client)) < len(LARGE)


def test_a_slow_reader_that_makes_progress_gets_all(port):
    with connect(port) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        threading.Event().wait(0.2)
        assert whole(client).endswith(LARGE)


def test_stuck_clients_make_room_for_those_who_ask():
    with running(connections=4, patience=60.0) as (port, server):
        stuck = [connect(port) for _ in range(12)]
        for _ in range(5):
            assert probe(port).endswith(b"/a?b")
        wait_for(lambda: len(server._open) <= 4, 5)
        for client in stuck:
            client.close()


def test_a_client_that_goes_on_asking_is_not_the_one_to_go():
    with running(connections=3, patience=60.0) as (port, _), connect(port) as faithful:
        for _ in range(10):
            connect(port)
            faithful.sendall(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
            assert answer(faithful).endswith(b"/a?")
