"""A TCP proxy between client and broker that can lose an answer: the request arrives, what is said to it does not.

It reads only the frame lengths and API keys of the client's side. Source: Kafka protocol guide.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

END_TXN = 26


class Proxy:
    """Listens on ``port`` and forwards to ``target``; starts at once, ends with `close`.

    `lose` (an API key) makes it, at the next request of that kind, forward the request and then cut the connection
    before the answer; `cut` closes every connection and refuses new ones until `mend`.
    """

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        self.target = target
        self.lose: int | None = None
        self.lost = 0
        self.delay: float = 0.3
        self._refusing = False
        self._sockets: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", port))
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            if self._refusing:
                client.close()
                broker.close()
                continue
            self._sockets |= {client, broker}
            mute = threading.Event()
            threading.Thread(target=self._requests, args=(client, broker, mute), daemon=True).start()
            threading.Thread(target=self._answers, args=(broker, client, mute), daemon=True).start()

    def _requests(self, client: socket.socket, broker: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError), client.makefile("rb") as frames:
            while head := frames.read(4):
                body = frames.read(int.from_bytes(head, "big"))
                if self.lose is not None and int.from_bytes(body[:2], "big") == self.lose:
                    self.lose = None
                    self.lost += 1
                    mute.set()
                broker.sendall(head + body)
                if mute.is_set():
                    time.sleep(self.delay)  # let the broker act before the connection goes
                    break
        self._drop(client, broker)

    def _answers(self, broker: socket.socket, client: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := broker.recv(1 << 16):
                if not mute.is_set():
                    client.sendall(data)
        self._drop(client, broker)

    def _drop(self, *sockets: socket.socket) -> None:
        for one in sockets:
            self._sockets.discard(one)
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def cut(self) -> None:
        self._refusing = True
        self._drop(*list(self._sockets))

    def mend(self) -> None:
        self._refusing = False

    def close(self) -> None:
        # A close alone does not wake the thread that accepts, and while that waits the port stays taken.
        self._server.shutdown(socket.SHUT_RDWR)
        self._accepting.join(10)
        self._server.close()
        self._drop(*list(self._sockets))
