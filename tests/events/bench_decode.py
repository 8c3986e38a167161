"""What decoding costs: ratios to bare msgspec decoding of the same messages into the same structs, in one run.

    python tests/events/bench_decode.py [events] [runs]

"1 % bad" puts a bad message at random places, a different class each time; "extras" adds five fields that the contract
does not name to every message.
"""

from __future__ import annotations

import json
import random
import sys
import time
import uuid
from collections.abc import Callable

import msgspec
import numpy as np

from streameval.events import Batch, Decoder, ModelSpec, Outcome, Prediction

BATCH = 5_000
BAD = [b"", b"{", b"[]", b"\xff", b'{"id":1}', b'{"id":"a","model":"fraud","ts":1714564800,"score":0.5}', b"[" * 10_000]


def predictions(n: int, rng: random.Random, extras: bool = False) -> list[bytes]:
    made = []
    for i in range(n):
        event = {
            "id": str(uuid.UUID(int=rng.getrandbits(128))),
            "model": "fraud",
            "version": "3",
            "ts": f"2024-05-{1 + i % 28:02d}T{i % 24:02d}:{i % 60:02d}:{i % 59:02d}.{i % 1000:03d}Z",
            "score": rng.random(),
            "segments": {"country": rng.choice(["DE", "FR", "ES", "IT"]), "channel": rng.choice(["web", "app"])},
            "features": {"amount": round(rng.random() * 100, 2), "age": rng.randint(1, 90), "velocity": rng.random()},
        }
        if extras:
            event |= {
                "trace": str(i),
                "host": "a",
                "region": "a",
                "customer": {"id": i, "tier": "a"},
                "tags": ["x", "y"],
            }
        made.append(json.dumps(event).encode())
    return made


def outcomes(n: int, rng: random.Random) -> list[bytes]:
    return [
        json.dumps(
            {
                "id": str(uuid.UUID(int=rng.getrandbits(128))),
                "ts": f"2024-05-{1 + i % 28:02d}T{i % 24:02d}:{i % 60:02d}:{i % 59:02d}.{i % 1000:03d}Z",
                "label": i % 20 == 0,
                "values": {"revenue": rng.random() * 50},
            }
        ).encode()
        for i in range(n)
    ]


def with_bad(messages: list[bytes], rng: random.Random) -> list[bytes]:
    mixed = list(messages)
    for place in rng.sample(range(len(mixed)), len(mixed) // 100):
        mixed[place] = rng.choice(BAD)
    return mixed


def best(run: Callable[[list[bytes]], object], messages: list[bytes], runs: int) -> float:
    """µs an event: the best run of each batch, because the machine's noise only ever adds."""
    total = 0.0
    for first in range(0, len(messages), BATCH):
        batch = messages[first : first + BATCH]
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            run(batch)
            times.append(time.perf_counter() - start)
        total += min(times)
    return total / len(messages) * 1e6


def main(n: int = 200_000, runs: int = 3) -> None:
    rng = random.Random(7)
    decoder = Decoder([ModelSpec("fraud", "binary", ("country", "channel"), {"revenue": 0.01})])

    def batch(messages: list[bytes]) -> Batch:
        return Batch("t", 0, np.arange(len(messages)), list(messages), None)

    bare_prediction = msgspec.json.Decoder(Prediction).decode
    bare_outcome = msgspec.json.Decoder(Outcome).decode
    plain, extra, outs = predictions(n, rng), predictions(n, rng, extras=True), outcomes(n, rng)
    cases = [
        ("predictions", plain, bare_prediction, decoder.predictions, plain),
        ("predictions, 1 % bad", with_bad(plain, rng), bare_prediction, decoder.predictions, plain),
        ("predictions, 5 extras", extra, bare_prediction, decoder.predictions, extra),
        ("outcomes", outs, bare_outcome, decoder.outcomes, outs),
        ("outcomes, 1 % bad", with_bad(outs, rng), bare_outcome, decoder.outcomes, outs),
    ]
    for name, messages, bare, decode, good in cases:
        reference = best(lambda part, bare=bare: list(map(bare, part)), good, runs)
        ours = best(lambda part, decode=decode: decode(batch(part)), messages, runs)
        rows, rejected = decode(batch(messages))
        lost = len(messages) - len(rows) - len(rejected)
        if lost or (("bad" in name) != bool(rejected)):
            raise SystemExit(f"{name}: {lost} messages are neither row nor rejection, {len(rejected)} are rejected")
        print(f"{name:24s} {ours / reference:5.2f} x bare msgspec   ({ours:.2f} µs an event, bare {reference:.2f})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
