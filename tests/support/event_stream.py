"""
Amazon's event stream, as bytes: an encoder and a decoder that share nothing with botocore.

Source of the format: the Smithy specification, *Amazon Event Stream*. A message is the length of all and
of the headers, the checksum of these eight bytes, the headers, the payload, the checksum of all before.
"""

from __future__ import annotations

import base64
import json
import struct
from zlib import crc32

_STRING = 7
"""Type of a header whose value is a string."""


def _header(name, value):
    text = value.encode()
    return struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", _STRING, len(text)) + text


def message(headers, payload):
    """Return one message: its headers are strings, its payload bytes."""
    packed = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack("!II", 4 * 4 + len(packed) + len(payload), len(packed))
    begun = prelude + struct.pack("!I", crc32(prelude)) + packed + payload
    return begun + struct.pack("!I", crc32(begun))


def event(kind, value):
    """Return an event of a type, whose payload is JSON; one with a type of `…Exception` is a failure."""
    word = "exception" if kind.endswith("Exception") else "event"
    headers = {f":{word}-type": kind, ":content-type": "application/json", ":message-type": word}
    return message(headers, json.dumps(value).encode())


def chunk(body):
    """Return the event of `invoke_model_with_response_stream` that passes a model's own JSON on."""
    return event("chunk", {"bytes": base64.b64encode(json.dumps(body).encode()).decode()})


def messages_of(data):
    """Return type and payload of each message in some bytes; the checksums have to be right."""
    found = []
    while data:
        total, length = struct.unpack("!II", data[:8])
        assert struct.unpack("!I", data[8:12])[0] == crc32(data[:8])
        assert struct.unpack("!I", data[total - 4 : total])[0] == crc32(data[: total - 4])
        headers, packed = {}, data[12 : 12 + length]
        while packed:
            size = packed[0]
            name, packed = packed[1 : 1 + size].decode(), packed[1 + size :]
            kind, size = struct.unpack("!BH", packed[:3])
            assert kind == _STRING
            headers[name], packed = packed[3 : 3 + size].decode(), packed[3 + size :]
        payload = json.loads(data[12 + length : total - 4])
        found.append((headers.get(":event-type") or headers[":exception-type"], payload))
        data = data[total:]
    return found
