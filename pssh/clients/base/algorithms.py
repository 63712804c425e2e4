"""Which algorithms are offered, best first (RFC 4253 section 7.1).

Left out by default is what is broken or about to be: SHA-1 signatures and exchanges, CBC,
RC4, DSA, MD5. A setting brings them back for a server that knows nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Final

from pssh.exceptions import InvalidAPIUseError

KEX: Final = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group-exchange-sha256",
)

HOST_KEYS: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)

MACS: Final = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)

#: Compression that begins after authentication comes first: what is compressed before that
#: is under the control of somebody who has not proved who they are.
COMPRESSION: Final = ("zlib@openssh.com", "zlib", "none")

_CERTIFICATE = "-cert-v01@openssh.com"

#: For user authentication with keys (RFC 4252 section 7), with and without a certificate.
PUBLIC_KEYS: Final = (
    *(f"{name}{_CERTIFICATE}" for name in HOST_KEYS),
    f"sk-ssh-ed25519{_CERTIFICATE}",
    f"sk-ecdsa-sha2-nistp256{_CERTIFICATE}",
    *HOST_KEYS,
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)

_AES_GCM = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_CHACHA = ("chacha20-poly1305@openssh.com",)
_AES_CTR = ("aes128-ctr", "aes192-ctr", "aes256-ctr")


#: With these OpenSSL 3 does AES-GCM in 512 bit registers, which costs less also for a few bytes.
_WIDE_AES = {"vaes", "vpclmulqdq", "avx512f", "avx512dq", "avx512bw", "avx512vl"}


def ciphers(*, few_bytes_at_a_time: bool = False) -> tuple[str, ...]:
    """Return the ciphers to offer, by what this processor does in hardware.

    With instructions for AES, AES-GCM is more than twice as fast as chacha20-poly1305.

    :param few_bytes_at_a_time: for a library that has AES-GCM done for a few bytes at a time:
        with instructions for SHA-256 as well, and none for AES in 512 bit registers, prefer AES
        in counter mode, whose integrity an encrypt-then-MAC HMAC protects (see ``MACS``).
    """
    features = _processor_features()
    if features is None or "aes" in features:
        if (
            few_bytes_at_a_time
            and features is not None
            and features & {"sha_ni", "sha2"}
            and not features >= _WIDE_AES
        ):
            return (*_AES_CTR, *_AES_GCM, *_CHACHA)
        return (*_AES_GCM, *_CHACHA, *_AES_CTR)
    return (*_CHACHA, *_AES_GCM, *_AES_CTR)


#: What servers may ask for, for a library that does not tell what it knows.
KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "kex_algorithms": (
        "mlkem768x25519-sha256",
        "sntrup761x25519-sha512",
        "sntrup761x25519-sha512@openssh.com",
        *KEX,
        "diffie-hellman-group14-sha1",
        "diffie-hellman-group-exchange-sha1",
        "diffie-hellman-group1-sha1",
    ),
    "host_key_algorithms": (
        *HOST_KEYS,
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
        "ssh-rsa",
        "ssh-dss",
    ),
    "public_key_algorithms": (*PUBLIC_KEYS, "ssh-rsa", f"ssh-rsa{_CERTIFICATE}"),
    "ciphers": (
        *_AES_GCM,
        *_CHACHA,
        *_AES_CTR,
        "aes256-cbc",
        "aes192-cbc",
        "aes128-cbc",
        "3des-cbc",
    ),
    "macs": (
        *MACS,
        "hmac-sha1-etm@openssh.com",
        "hmac-sha1",
        "hmac-md5",
    ),
}


@cache
def _processor_features() -> frozenset[str] | None:
    """Return the names of the processor's extensions, ``None`` where nothing tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return None


#: Signature algorithms of a key type, where their names differ (RFC 8332).
_SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


def choose(
    asked: Sequence[str] | None, preferred: Sequence[str], supported: Sequence[str]
) -> list[str]:
    """Return what to offer: what was asked for, or what is preferred and supported.

    :param asked: names; or, with ``+``, ``-`` or ``^`` before the first of them, what to add to
        the preferred ones, to leave out (where ``*`` and ``?`` are wildcards), or to put first.
    :raises InvalidAPIUseError: when that leaves nothing.
    """
    default = [name for name in preferred if name in supported]
    if asked is None:
        return default
    sign, names = split_sign(asked)
    if sign == "+":
        return list(dict.fromkeys([*default, *names]))
    if sign == "^":
        return list(dict.fromkeys([*names, *default]))
    if sign == "-":
        names = [name for name in default if not any(fnmatchcase(name, out) for out in names)]
        if not names:
            raise InvalidAPIUseError("%s leaves no algorithm to offer", ",".join(asked))
    return names


def split_sign(asked: Sequence[str]) -> tuple[str, list[str]]:
    """Split what a setting asks for into ``+``, ``-``, ``^`` or nothing, and the names."""
    sign = asked[0][:1]
    if sign in ("+", "-", "^"):
        return sign, [asked[0][1:], *asked[1:]]
    return "", list(asked)


def plain(names: Sequence[str]) -> list[str]:
    """Return the algorithms of keys, without the distinction whether there is a certificate."""
    return list(dict.fromkeys(name.removesuffix(_CERTIFICATE) for name in names))


def signs_for(key_type: str, allowed: Sequence[str]) -> bool:
    """Whether a key, or a certificate, can sign with one of the allowed algorithms.

    :param key_type: as in a ``.pub`` file.
    """
    plain = key_type.removesuffix(_CERTIFICATE)
    suffix = key_type[len(plain) :]
    names = (plain, *_SIGNATURES.get(plain, ()))
    return any(name + suffix in allowed for name in names)


def host_keys_for(recorded_types: Sequence[str], offered: Sequence[str]) -> list[str]:
    """Order host key algorithms so that the types on record for a host come first.

    A server picks the first one that it has too (RFC 4253 section 7.1): a host that is known
    by its ed25519 key must not show an ECDSA one.

    :param recorded_types: key types of the known_hosts entries for the host.
    :param offered: what would be offered to an unknown host, best first.
    """
    first: list[str] = []
    for key_type in recorded_types:
        for name in _SIGNATURES.get(key_type, (key_type,)):
            if name in offered and name not in first:
                first.append(name)
    return [*first, *(name for name in offered if name not in first)]
