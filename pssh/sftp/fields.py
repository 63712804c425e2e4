"""The types that the fields of a packet have (RFC 4251 section 5). Pure."""

from __future__ import annotations

import struct
from typing import Final

UINT32: Final = struct.Struct(">I")
UINT64: Final = struct.Struct(">Q")


class FieldError(Exception):
    """A packet does not hold what it has to; the text goes on from "a packet that …"."""


def string(value: bytes) -> bytes:
    """Return a string with its length in front.

    :param value: any bytes.
    """
    return UINT32.pack(len(value)) + value


def read_uint32(data: bytes, at: int) -> tuple[int, int]:
    """Return an unsigned 32 bit number, and where the next field begins.

    :param data: a packet.
    :param at: where the number begins.
    :raises FieldError: when the packet is too short.
    """
    end = at + 4
    if end > len(data):
        raise FieldError("ends too early")
    return int.from_bytes(data[at:end], "big"), end


def read_string(data: bytes, at: int) -> tuple[bytes, int]:
    """Return a string without its length, and where the next field begins.

    :param data: a packet.
    :param at: where the length of the string begins.
    :raises FieldError: when the packet is too short.
    """
    begin = at + 4
    end = begin + int.from_bytes(data[at:begin], "big")
    if begin > len(data) or end > len(data):
        raise FieldError("ends too early")
    return data[begin:end], end
