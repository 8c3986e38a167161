"""What is no JSON object is called by its name, with what to do; and no text repeats what the message says."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import pickle

import numpy as np
import pytest

from streameval.events import Batch, Decoder, ModelSpec

TS = 1_714_564_800_000
EVENT = {"id": "person-4711", "model": "m", "ts": TS, "score": 0.5}
JSON = json.dumps(EVENT)
BINARY = b"\x16person-4711\x02m\x80\xfe"

SAID = {
    "Confluent's JSON": (b"\0\0\0\0\x07" + JSON.encode(), "not_json", "Confluent's prefix", "before JSON"),
    "Confluent's Avro": (b"\0\0\0\x7b\x05" + BINARY, "not_json", "Confluent's prefix", "before Avro or Protobuf"),
    "an Avro file": (b"Obj\x01" + BINARY, "not_json", "an Avro file", "send JSON"),
    "Protobuf": (b"\n\x0b" + BINARY, "not_utf8", "Protobuf", "send JSON in UTF-8"),
    "MessagePack": (b"\x84\xa2id" + BINARY, "not_json", "MessagePack", "send JSON"),
    "CBOR": (b"\xa4\x62id" + BINARY, "not_json", "CBOR", "send JSON"),
    "a pickle": (pickle.dumps(EVENT), "not_json", "a Python pickle", "send JSON"),
    "gzip": (gzip.compress(JSON.encode()), "not_json", "gzip", "compression.type"),
    "bzip2": (bz2.compress(JSON.encode()), "not_json", "bzip2", "compression.type"),
    "xz": (lzma.compress(JSON.encode()), "not_json", "xz", "compression.type"),
    "zstd": (b"\x28\xb5\x2f\xfd\x24" + BINARY, "not_json", "zstd", "compression.type"),
    "UTF-16": (JSON.encode("utf-16-le"), "not_json", "UTF-16", "encode it as UTF-8"),
    "UTF-16 of the other end": (JSON.encode("utf-16-be"), "not_json", "UTF-16", "encode it as UTF-8"),
    "UTF-32": (JSON.encode("utf-32-be"), "not_json", "UTF-32", "encode it as UTF-8"),
    "UTF-16 with its mark": (JSON.encode("utf-16"), "byte_order_mark", "UTF-16's byte order mark", "without one"),
    "Latin-1": (JSON.replace("person", "perso\xf1").encode("latin-1"), "not_utf8", "byte 13", "encode the message as"),
    "base64": (base64.b64encode(JSON.encode()), "not_json", "base64", "send the JSON itself"),
    "base64 for addresses": (base64.urlsafe_b64encode(JSON.encode()).rstrip(b"="), "not_json", "base64", "itself"),
    "base64 in quotes": (json.dumps(base64.b64encode(JSON.encode()).decode()).encode(), "not_object", "base64", "send"),
    "JSON in a string": (json.dumps(JSON).encode(), "not_object", "encoded twice", "send the object itself"),
    "a batch": (f"[{JSON}, {JSON}]".encode(), "not_object", "an array", "a message of its own"),
    "two events": ((JSON + JSON).encode(), "not_json", "more than one JSON object", "a message of its own"),
    "two lines": ((JSON + "\n" + JSON).encode(), "not_json", "more than one JSON object", "a message of its own"),
    "a dict's str": (str(EVENT).encode(), "not_json", "single quotes", "json.dumps"),
    "None": (JSON.replace("0.5", "None").encode(), "not_json", "None", "true, false and null"),
    "JavaScript": (b'{id: "person-4711", ts: 1}', "not_json", "a key without quotes", "double quotes"),
    "a trailing comma": (JSON[:-1].encode() + b",}", "not_json", "a comma before a closing bracket", "leave it out"),
    "a comment": (JSON.encode().replace(b", ", b", // note\n", 1), "not_json", "a comment", "JSON has none"),
    "a bare fraction": (JSON.replace("0.5", ".5").encode(), "not_json", "no number of JSON's", "write 0.5"),
    "a leading zero": (JSON.replace("0.5", "00.5").encode(), "not_json", "no number of JSON's", "01"),
    "a line break in a string": (JSON.replace("-", "\n").encode(), "not_json", "a raw control character", "escape it"),
    "the end of a C string": (JSON.encode() + b"\0", "not_json", "a zero byte", "C string"),
    "CSV": (b"person-4711,m,1714564800000,0.5", "not_json", "a line of CSV", "send JSON"),
    "CSV with semicolons": (b"person-4711;m;1714564800000;0,5", "not_json", "a line of CSV", "send JSON"),
    "a row with too many cells": (b"a row of 3 cells under 2 columns", "not_json", "3 cells", "quote cells"),
    "pairs": (b"id=person-4711 model=m", "not_json", "pairs of name=value", "send a JSON object"),
    "XML": (b'<event id="person-4711"/>', "not_json", "XML", "send JSON"),
    "a server-sent event": (b"data: " + JSON.encode(), "not_json", "a server-sent event", "behind data:"),
    "an envelope": (json.dumps({"schema": {}, "payload": EVENT}).encode(), "missing_field", "$.payload.id", "mappings"),
    "a fraction of a millisecond": (
        json.dumps(EVENT | {"ts": TS + 0.5}).encode(),
        "bad_time",
        "cut the fraction off",
        "",
    ),
    "a score just above one": (json.dumps(EVENT | {"score": 1.0000001}).encode(), "out_of_range", "is 1.0000001:", ""),
}


@pytest.mark.parametrize("name", SAID)
def test_a_message_is_called_what_it_is_with_the_cure_and_without_its_content(name):
    message, reason, what, cure = SAID[name]
    rows, rejected = Decoder([ModelSpec("m")]).predictions(Batch("t", 0, np.arange(1), [message]))
    assert len(rows) == 0
    assert [bad.reason for bad in rejected] == [reason]
    assert what in rejected[0].detail
    assert cure in rejected[0].detail
    assert "4711" not in rejected[0].detail


def test_a_json_message_is_never_taken_for_another_format():
    for first in [b"{", b" \n{", b"\t{"]:
        message = first + JSON.encode()[1:]
        assert len(Decoder([ModelSpec("m")]).predictions(Batch("t", 0, np.arange(1), [message]))[0]) == 1
