"""Paths on a host, which are bytes there: their parts, and the names of further files."""

from __future__ import annotations

import secrets


def parent_of(path: bytes) -> bytes:
    """Return the directory that a path is in; empty for the one where a session begins."""
    head, slash, _ = path.rstrip(b"/").rpartition(b"/")
    return head or slash


def join(directory: bytes, name: bytes) -> bytes:
    """Return the path of an entry of a directory."""
    return directory.rstrip(b"/") + b"/" + name if directory else name


def beside(path: bytes) -> bytes:
    """Return the path of a new file in the same directory."""
    head, slash, name = path.rpartition(b"/")
    # A long name has to stay within what file systems allow.
    return head + slash + b"." + name[:200] + b"." + secrets.token_hex(6).encode() + b".part"
