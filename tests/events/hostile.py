"""Hostile messages by the million: JSON with absurd values, and bytes that are nearly JSON. A seed makes them all.

`SECRET` stands in every string but times: no text about a message may repeat it, but for the name of a model.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
from collections.abc import Callable

SECRET = "s3cr3t"
START = 1_714_564_800_000
MODELS = ("fraud", "churn")

NUMBERS = [
    *("0", "1", "-0", "-0.0", "0.5", "1.0", "1e0", "1.0000001", "-1", "2", "5e-324", "-5e-324", "1e-300", "0.1e1"),
    *("1e154", "-1e154", "1e300", "1e308", "-1.7976931348623157e308", "1e309", "-1e400", "1E+999", "1e-999"),
    *("9007199254740991", "9007199254740993.0", "9223372036854775807", "9223372036854775808", "-1" + "0" * 18),
    *("9" * 30, "9" * 309, "-" + "9" * 310, "9" * 4299, "9" * 5000, "0." + "3" * 400, "1" + "0" * 400 + "e-400"),
    *("NaN", "Infinity", "-Infinity", "-NaN", "+1", "01", ".5", "1.", "0x10", "1_000"),
    *(str(START), f"{START}.0", f"{START}.5", str(START // 1000), str(START * 1000), "4102444800000", "631151999999"),
]
TIMES = [
    *("2024-05-01T12:00:00Z", "2024-05-01T12:00:00.123456789Z", "2024-05-01t12:00:00z", "2024-05-01 12:00:00Z"),
    *("2024-05-01T12:00:00", "2024-05-01", "2024-02-30T00:00:00Z", "2024-05-01T24:00:00Z", "2024-05-01T23:59:60Z"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59", "2024-05-01T12:00:00+14:00", "yesterday", ""),
]
# One of every category that a name might hold, as JSON writes it and as it is.
CHARACTERS = [
    *(
        "\\u0000",
        "\\n",
        "\\u001b[31m",
        "\x7f",
        "\x9b",
        "\xad",
        "\u061c",
        "\u200b",
        "\u200d",
        "\u202e",
        "\u2028",
        "\u2029",
    ),
    *(
        "\u2066",
        "\ufeff",
        "\ufffd",
        "\uffff",
        "\ue000",
        "\U000e0041",
        "\U0001f469\u200d\U0001f4bb",
        "é",
        "東",
        "\\ud83d",
    ),
    *(
        "\\ud83d\\ude00",
        "\\udc00",
        '\\"',
        "\\\\",
        "\\/",
        '\\":',
        "\u0301",
        "\u06dd",
        "\xa0",
        "\t",
        "\n",
        "'",
        "<b>",
        "=",
        "/",
    ),
]


class Hostile:
    """Makes messages for topics of predictions and outcomes."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)

    def message(self, event: str) -> bytes | None:
        """A prediction or an outcome, or what became of one; None is a tombstone."""
        choose = self.choose
        if choose.random() < 0.01:
            return None
        fields = self._prediction() if event == "prediction" else self._outcome()
        for _ in range(choose.choice([0, 1, 1, 1, 2, 3, 6])):
            self._spoil(fields)
        text = self._written(fields)
        data = text.encode("utf-8", "surrogatepass")
        return self._bent(data) if choose.random() < 0.35 else data

    def _prediction(self) -> list[tuple[str, str]]:
        choose = self.choose
        fields = [
            ("id", f'"{SECRET}-{choose.randrange(10**6)}"'),
            ("model", json.dumps(choose.choice([*MODELS, "elsewhere"]))),
            ("ts", str(START + choose.randrange(10**7))),
            ("score", repr(choose.random())),
        ]
        if choose.random() < 0.6:
            fields.append(("segments", f'{{"country": "{SECRET}", "{SECRET}": 1}}'))
        if choose.random() < 0.3:
            fields.append(("features", f'{{"{SECRET}": 0.25, "b": {self._value(2)}}}'))
        if choose.random() < 0.3:
            fields.append(("propensity", repr(choose.random())))
        return fields

    def _outcome(self) -> list[tuple[str, str]]:
        choose = self.choose
        fields = [("ts", str(START + choose.randrange(10**7)))]
        if choose.random() < 0.9:
            fields += [("id", f'"{SECRET}-{choose.randrange(10**6)}"'), ("label", choose.choice(["0", "1", "true"]))]
        if choose.random() < 0.3:
            fields.append(("model", json.dumps(choose.choice([*MODELS, "elsewhere"]))))
        if choose.random() < 0.5:
            fields.append(("values", f'{{"revenue": {choose.gauss(0, 100)}, "{SECRET}": {self._value(2)}}}'))
        return fields

    def _spoil(self, fields: list[tuple[str, str]]) -> None:
        """Give a field an absurd value, double it, drop it, or add one that nobody knows."""
        choose = self.choose
        known = (
            "id",
            "model",
            "ts",
            "version",
            "score",
            "scores",
            "value",
            "group",
            "decision",
            "segments",
            "features",
        )
        known += ("latency_ms", "propensity", "label", "values")
        name = choose.choice(known)
        places = [n for n, (field, _) in enumerate(fields) if field == name]
        act = choose.random()
        if places and act < 0.1:
            del fields[places[0]]
        elif places and act < 0.2:
            fields.insert(choose.randrange(len(fields) + 1), fields[places[0]])
        elif act < 0.35:
            fields.append((choose.choice([SECRET, "payload", "ID", "i\\u0064", "x" * 300, ""]), self._value(3)))
        else:
            value = self._of(name)
            if places:
                fields[places[0]] = (name, value)
            else:
                fields.append((name, value))

    def _of(self, name: str) -> str:
        """A value for a field: of its kind, mostly, and absurd."""
        choose = self.choose
        if choose.random() < 0.25:
            return self._value(3)
        if name in ("segments", "values", "features", "scores"):
            inner = {"segments": "country", "values": "revenue"}.get(name, SECRET)
            more = f', "{choose.choice([inner, SECRET])}": {self._value(2)}' if choose.random() < 0.4 else ""
            return f'{{"{inner}": {self._scalar()}{more}}}'
        if name == "ts":
            return json.dumps(choose.choice(TIMES)) if choose.random() < 0.5 else choose.choice(NUMBERS)
        if name in ("id", "model", "version", "group"):
            return self._string() if choose.random() < 0.6 else choose.choice(NUMBERS)
        return choose.choice(NUMBERS)

    def _scalar(self) -> str:
        choose = self.choose
        return choose.choice([choose.choice(NUMBERS), self._string(), "true", "false", "null", "[]", "{}", '""'])

    def _string(self) -> str:
        choose = self.choose
        parts = [choose.choice(CHARACTERS) for _ in range(choose.randrange(4))]
        parts.insert(choose.randrange(len(parts) + 1), SECRET)
        return '"' + "".join(parts) * choose.choice([1, 1, 1, 1, 40, 300]) + '"'

    def _value(self, deepest: int) -> str:
        choose = self.choose
        kind = choose.random()
        if deepest == 0 or kind < 0.7:
            return self._scalar()
        if kind < 0.72:
            depth = choose.choice([30, 62, 63, 64, 65, 100, 1200])
            return choose.choice(['{"a":' * depth + "1" + "}" * depth, "[" * depth + "]" * depth, "[" * depth])
        inner = [self._value(deepest - 1) for _ in range(choose.randrange(4))]
        if kind < 0.86:
            return f"[{','.join(inner)}]"
        names = [choose.choice([SECRET, "id", "country", "a"]) for _ in inner]
        return "{" + ",".join(f'"{name}":{value}' for name, value in zip(names, inner, strict=True)) + "}"

    def _written(self, fields: list[tuple[str, str]]) -> str:
        choose = self.choose
        if choose.random() < 0.3:
            choose.shuffle(fields)
        colon, comma = choose.choice([(": ", ", "), (":", ","), (" : ", " ,\n\t"), (":\r\n", ",")])
        return "{" + comma.join(f'"{name}"{colon}{value}' for name, value in fields) + "}"

    def _bent(self, data: bytes) -> bytes:
        """Bytes with a few errors, cut, doubled, or in another format."""
        choose = self.choose
        if choose.random() < 0.75:
            bytes_ = bytearray(data)
            for _ in range(choose.choice([1, 1, 2, 5, 40])):
                at = choose.randrange(len(bytes_) + 1)
                act = choose.randrange(4)
                if act == 0:
                    bytes_[at:at] = bytes([choose.randrange(256)])
                elif act == 1:
                    del bytes_[at : at + choose.choice([1, 1, 5])]
                elif act == 2 and at < len(bytes_):
                    bytes_[at] ^= 1 << choose.randrange(8)
                else:
                    bytes_[at:at] = choose.choice(
                        [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\0", b"\xff", b"NaN"]
                    )
            return bytes(bytes_)
        text = data.decode("utf-8", "replace")
        bends: list[Callable[[], bytes]] = [
            lambda: data[: choose.randrange(len(data))],
            lambda: data + choose.choice([b"\n", b"\0", b" ", data]),
            lambda: b"\0\0\0\0\x07" + data,
            lambda: gzip.compress(data, 1),
            lambda: base64.b64encode(data),
            lambda: json.dumps(text).encode(),
            lambda: b"[" + data + b"]",
            lambda: text.encode("utf-16"),
            lambda: text.encode("utf-32-le"),
            lambda: b"\xef\xbb\xbf" + data,
            lambda: data.replace(b'"', b"'"),
            lambda: choose.randbytes(choose.randrange(40)),
            lambda: choose.choice([b"", b" ", b"null", b"[]", b"{}", b'""', b"0", b"[" * 5000, b'{"a":' * 5000]),
        ]
        return choose.choice(bends)()
