"""File names: bytes for the server, text for people. Pure.

A server's names are bytes in an encoding that nobody tells (draft-ietf-secsh-filexfer-02 does not
say one). They become text as names of local files do in Python (PEP 383): bytes that do not decode
become lone surrogates, and become the same bytes again on the way back.
"""

from __future__ import annotations

import os


def encode_path(path: str | bytes | os.PathLike[str], encoding: str = "utf-8") -> bytes:
    """Return a path as it is sent to the server.

    :param path: text, bytes, which are sent as they are, or a path object.
    :param encoding: a Python codec's name.
    :raises ValueError: when it contains a null byte, or characters that the encoding lacks
        (then it is a ``UnicodeEncodeError``).
    :raises TypeError: when it is something else.
    """
    path = os.fspath(path)
    encoded = path if isinstance(path, bytes) else path.encode(encoding, "surrogateescape")
    if b"\0" in encoded:
        # Servers written in C would take the part before it for the whole path.
        raise ValueError(f"A path cannot contain a null byte: {path!r}")
    return encoded


def decode_name(name: bytes, encoding: str = "utf-8") -> str:
    """Return a server's name or path as text, from which :func:`encode_path` makes it again.

    :param name: as the server sent it.
    :param encoding: a Python codec's name. The way back is certain for UTF-8, ASCII and the
        encodings with one byte a character.
    """
    return name.decode(encoding, "surrogateescape")


def path_text(path: str | bytes | os.PathLike[str], encoding: str = "utf-8") -> str:
    """Return a path as text, from which :func:`encode_path` makes what it would make of the path.

    :param path: text, bytes or a path object.
    :param encoding: a Python codec's name.
    """
    path = os.fspath(path)
    return decode_name(path, encoding) if isinstance(path, bytes) else path


def is_entry_name(name: bytes) -> bool:
    """Whether a name from a listing stays in the directory that was listed.

    Joined to a local path, any other name would lead somewhere else: ``.`` and ``..``, what
    contains a slash, and what is no name at all.

    :param name: as the server sent it.
    """
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name


def printable(text: str | bytes) -> str:
    """Return a text for a message: what a terminal would act upon or not show is escaped.

    :param text: a path or a server's words.
    """
    if isinstance(text, bytes):
        text = decode_name(text)
    return text if text.isprintable() else "".join(map(_printable_character, text))


def _printable_character(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that did not decode
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
