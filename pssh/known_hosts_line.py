"""One line of a known_hosts file: reading it, writing it, and the public key that it holds.

The rule is sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". All of it works on bytes: host names and
comments may be in any encoding.
"""

from __future__ import annotations

import binascii
import hashlib
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = [
    "DEFAULT_PORT",
    "KnownHostEntry",
    "fingerprint",
    "format_line",
    "key_identity",
    "lookup_name",
    "parse",
    "split_hashed",
]

logger = logging.getLogger("pssh")

DEFAULT_PORT = 22

_HASH_LENGTH = 20  # of HMAC-SHA1, and of the salt that OpenSSH uses with it

# Only spaces and tabs separate fields. Markers, at most one a line, begin with '@'.
_LINE = re.compile(rb"[ \t]*(?:(@[^ \t]*)[ \t]+)?([^ \t@][^ \t]*)[ \t]+([^ \t]+)[ \t]+([^ \t]+)")

# What would be read back as something else than a part of this one name. Brackets are among
# them because a host called "[other]:2222" would be recorded as port 2222 of another host.
_NOT_IN_A_NAME = re.compile(rb"[\x00-\x20\x7f,|!*?#@\[\]]")

# How many strings a public key consists of, its type included: RFC 4253 section 6.6 (RSA, DSA),
# RFC 5656 section 3.1 (ECDSA), RFC 8709 section 4 (Ed25519).
_FIELD_COUNT = {
    b"ssh-rsa": 3,
    b"ssh-dss": 5,
    b"ecdsa-sha2-nistp256": 3,
    b"ecdsa-sha2-nistp384": 3,
    b"ecdsa-sha2-nistp521": 3,
    b"ssh-ed25519": 2,
}


@dataclass(frozen=True, slots=True)
class KnownHostEntry:
    """A key on record, and where it stands.

    :param key_type: The key's type as it stands in the file, such as ``ssh-ed25519``.
    :param key: The public key, RFC 4253 section 6.6.
    :param revoked: Whether the line is marked ``@revoked``: this key must be refused.
    :param path: The file.
    :param line: Number of the line in the file, the first one is 1; 0 where it is not known.
    :param hosts: The line's host names and patterns as they stand in the file.
    """

    key_type: str
    key: bytes = field(repr=False)
    revoked: bool
    path: str
    line: int
    hosts: bytes


def lookup_name(host: str, port: int) -> bytes:
    """The name under which a host's keys are on record, which is also what gets hashed.

    :param host: Name or address, in any case.
    :param port: TCP port.
    :returns: ``host`` for port 22, ``[host]:port`` for any other, in lower case.
    """
    # Only ASCII letters are folded, as OpenSSH does. 'surrogatepass' because asking for a
    # name that cannot be on record should find nothing rather than fail.
    name = host.encode("utf-8", "surrogatepass").lower()
    return name if port == DEFAULT_PORT else b"[%b]:%d" % (name, port)


def parse(data: bytes, path: str, first_line: int = 1) -> Iterator[KnownHostEntry]:
    """Read the content of a known_hosts file.

    Blank lines and comments are passed over; so are lines that are malformed and those of
    certificate authorities, with a debug message that names file and line.

    :param data: The file's content.
    :param path: The file's name, for the entries and the messages.
    :param first_line: The number of the first line in ``data``.
    :returns: The entries, in the order of the file.
    """
    for number, line in enumerate(data.split(b"\n"), first_line):
        # A line ends at a null byte, as it does for OpenSSH, which reads it as a C string.
        line = line.partition(b"\0")[0].rstrip(b"\r")
        start = line.lstrip(b" \t")[:1]
        if not start or start == b"#":
            continue
        match = _LINE.match(line)
        marker = match[1] if match else None
        if match is None:
            problem = "it is not made of host names, key type and key"
        elif marker == b"@cert-authority":
            problem = "host certificates are not supported"
        elif marker is not None and marker != b"@revoked":
            problem = "its marker is not known"
        else:
            hosts, key_type = match[2], match[3]
            key = _decode_base64(match[4])
            if hosts.startswith(b"|") and split_hashed(hosts) is None:
                problem = "its hashed host name is malformed"
            elif key is None or not _is_key_of_type(key, key_type):
                problem = "its key is malformed or not of the type that the line names"
            else:
                # Interned: 10,000 entries share a handful of types.
                name = sys.intern(key_type.decode("ascii", "backslashreplace"))
                yield KnownHostEntry(name, key, marker is not None, path, number, hosts)
                continue
        logger.debug("Skipping line %d of %s: %s", number, path, problem)


def format_line(host: str, port: int, key_type: str, key_blob: bytes) -> bytes:
    """The line that puts a host's key on record.

    :param host: Name or address of the host.
    :param port: TCP port, 1 to 65535.
    :param key_type: The key's type, such as ``ssh-ed25519``.
    :param key_blob: The public key, RFC 4253 section 6.6.
    :returns: The line with its newline.
    :raises ValueError: If the line would not be read back as just this host and key: the name
        contains what has a meaning in a known_hosts file, the port is none, or the key is not
        of that type.
    """
    name = lookup_name(host, DEFAULT_PORT)
    bad = _NOT_IN_A_NAME.search(name)
    if not name:
        raise ValueError("A host without a name cannot be recorded in a known_hosts file")
    if bad is not None:
        raise ValueError(
            f"Host name {host!r} cannot be recorded in a known_hosts file: it contains"
            f" {bad[0].decode()!r}, which has a meaning of its own there or is in no host name"
        )
    if not 0 < port < 65536:
        raise ValueError(f"Host {host} cannot be recorded with port {port}: no such TCP port")
    type_field = key_type.encode("utf-8", "surrogatepass")
    if re.search(rb"[\x00-\x20\x7f]", type_field) or not _is_key_of_type(key_blob, type_field):
        raise ValueError(f"The key of host {host} is not a public key of type {key_type!r}")
    encoded = binascii.b2a_base64(key_blob, newline=False)
    return b"%b %b %b\n" % (lookup_name(host, port), type_field, encoded)


def fingerprint(key_blob: bytes) -> str:
    """A key's fingerprint as ``ssh-keygen -l`` shows it.

    :param key_blob: The public key, RFC 4253 section 6.6.
    :returns: ``SHA256:`` and the digest in base64 without padding.
    """
    digest = binascii.b2a_base64(hashlib.sha256(key_blob).digest(), newline=False)
    return "SHA256:" + digest.rstrip(b"=").decode("ascii")


def key_identity(key_blob: bytes) -> tuple[bytes, ...]:
    """What makes a public key that key, the same for every spelling of it.

    To accept a key it is enough to compare bytes. To refuse a revoked one it is not: whoever
    stole it could offer it in another spelling that libraries accept as well.

    :param key_blob: A public key, RFC 4253 section 6.6.
    """
    fields, _ = _key_fields(key_blob)
    count = _FIELD_COUNT.get(fields[0]) if fields else None
    if count is None or len(fields) < count:
        return (key_blob,)
    key_type, *numbers = fields[:count]  # bytes after the last field belong to no key
    if key_type in (b"ssh-rsa", b"ssh-dss"):
        numbers = [number.lstrip(b"\0") for number in numbers]
    elif key_type.startswith(b"ecdsa-") and len(numbers[1]) > 2:
        # A point of the curve (SEC 1 section 2.3.3) may leave out y except for its lowest bit.
        form, rest = numbers[1][0], numbers[1][1:]
        if form in (4, 6, 7):
            numbers[1] = bytes([2 | rest[-1] & 1]) + rest[: len(rest) // 2]
    return (key_type, *numbers)


def split_hashed(hosts: bytes) -> tuple[bytes, bytes] | None:
    """Take a hashed host name, ``|1|salt|hash``, apart.

    :param hosts: The first field of a line.
    :returns: Salt and HMAC-SHA1, or ``None`` if it is malformed.
    """
    parts = hosts.split(b"|")
    if len(parts) != 4 or parts[:2] != [b"", b"1"]:
        return None
    salt, digest = _decode_base64(parts[2]), _decode_base64(parts[3])
    if salt is None or digest is None or len(salt) != _HASH_LENGTH or len(digest) != _HASH_LENGTH:
        return None
    return salt, digest


def _decode_base64(text: bytes) -> bytes | None:
    try:
        decoded = binascii.a2b_base64(text)
    except binascii.Error:
        return None
    # Python's decoder passes over foreign characters, and how strict its strict mode is depends
    # on the version. OpenSSH takes nothing but the one right spelling.
    return decoded if binascii.b2a_base64(decoded, newline=False) == text else None


def _key_fields(key_blob: bytes) -> tuple[list[bytes], int]:
    """The strings (RFC 4251 section 5) that a key starts with, and how many bytes they take."""
    fields = []
    offset = 0
    while offset + 4 <= len(key_blob):
        end = offset + 4 + int.from_bytes(key_blob[offset : offset + 4], "big")
        if end > len(key_blob):
            break
        fields.append(key_blob[offset + 4 : end])
        offset = end
    return fields, offset


def _is_key_of_type(key_blob: bytes, key_type: bytes) -> bool:
    fields, length = _key_fields(key_blob)
    # Whole strings and the right number of them: a line that a full disk cut off in the middle
    # must not pass for a different key of that host.
    return (
        length == len(key_blob)
        and len(fields) == _FIELD_COUNT.get(key_type, max(2, len(fields)))
        and fields[0] == key_type
    )
