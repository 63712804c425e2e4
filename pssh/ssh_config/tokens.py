"""Tokens (``%h``) and environment variables (``${HOME}``) in values of ssh_config(5)."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping

from pssh.exceptions import SSHConfigError

#: The tokens that most keywords take, for :func:`expand`.
COMMON = "CdhijkLlnpru"

_TOKEN = re.compile(r"%(.?)", re.DOTALL)
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_TOKEN_OR_VARIABLE = re.compile(rf"{_TOKEN.pattern}|{_VARIABLE.pattern}", re.DOTALL)


def expand(text: str, values: Mapping[str, str], allowed: str = COMMON) -> str:
    """Replace tokens by their values.

    :param values: token, without ``%``, to value.
    :param allowed: those that may be used here; ``%%`` always may.
    :raises SSHConfigError: for any other.
    """
    return _TOKEN.sub(lambda found: _token(found[1], values, allowed), text)


def expand_with_environment(text: str, values: Mapping[str, str]) -> str:
    """Replace tokens and environment variables by their values.

    :raises SSHConfigError: for a token that is none, and a variable that is not set.
    """

    def replace(found: re.Match[str]) -> str:
        if found[1] is not None:
            return _token(found[1], values, COMMON)
        return variable(found[2])

    return _TOKEN_OR_VARIABLE.sub(replace, text)


def variable(name: str) -> str:
    """Return the value of an environment variable.

    :raises SSHConfigError: when it is not set.
    """
    value = os.environ.get(name)
    if value is None:
        raise SSHConfigError(f"the environment variable {name} is not set")
    return value


def _token(token: str, values: Mapping[str, str], allowed: str) -> str:
    if token == "%":
        return "%"
    if not token or token not in allowed:
        raise SSHConfigError(f"the token %{token} cannot be used here")
    return values[token]


def connection_hash(local_host: str, host: str, port: str, user: str, jump: str) -> str:
    """Return what ``%C`` stands for."""
    text = "".join((local_host, host, port, user, jump))
    return hashlib.sha1(text.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
