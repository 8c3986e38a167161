"""A hundred readers of a worker's metrics and some that get stuck, in a process of their own.

Run: python tests/serve/scrapers.py PORT CLIENTS PAUSE STUCK [PATH]    until it is stopped; prints answers and delays
"""

import asyncio
import json
import signal
import sys
import time


async def read(port, path, pause, delays, failures):
    await asyncio.sleep(pause * (hash((path, id(delays), len(delays))) % 97) / 97)
    while True:
        began = time.perf_counter()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            answer = await reader.read(-1)
            writer.close()
        except OSError:
            failures.append(1)
            await asyncio.sleep(0.05)
            continue
        if answer.startswith(b"HTTP/1.1 200"):
            delays.append(time.perf_counter() - began)
        else:
            failures.append(1)
        await asyncio.sleep(pause)


async def get_stuck(port, way):
    """Connects and says nothing, says half a request, or asks for the largest file and never reads it."""
    while True:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        if way:
            writer.write(b"GET /plotly.js HTTP/1.1\r\n" + (b"" if way == 1 else b"host: x\r\n\r\n"))
        writer.transport.pause_reading()
        await asyncio.sleep(20)
        writer.close()


async def main(port, clients, pause, stuck, path):
    delays, probes, failures = [], [], []
    tasks = [asyncio.create_task(read(port, path, pause, delays, failures)) for _ in range(clients)]
    tasks += [asyncio.create_task(get_stuck(port, n % 3)) for n in range(stuck)]
    tasks.append(asyncio.create_task(read(port, "/healthz", 0.1, probes, failures)))
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print("ready", flush=True)
    await stopped.wait()
    for task in tasks:
        task.cancel()

    def told(seconds):
        ranked = sorted(seconds)
        return (
            {"count": len(ranked), "p50": ranked[len(ranked) // 2], "p99": ranked[int(0.99 * len(ranked))]}
            if ranked
            else {}
        )

    print(json.dumps({"scrapes": told(delays), "probes": told(probes), "failures": len(failures)}), flush=True)


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(
        main(int(given[0]), int(given[1]), float(given[2]), int(given[3]), given[4] if given[4:] else "/metrics")
    )
