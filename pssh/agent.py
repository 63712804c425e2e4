"""An agent of the program's own: private keys that are tried in place of a system agent's."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pssh import private_key
from pssh.exceptions import PKeyFileError
from pssh.private_key import KeyFile
from pssh.utils import logger

if TYPE_CHECKING:
    from pssh.agent_signing import SigningKey

__all__ = ["AgentKey", "SSHAgent"]


@dataclass(frozen=True, slots=True)
class AgentKey:
    """A key that an :class:`SSHAgent` holds.

    :param file: the key as it was read.
    :param passphrase: what decrypts it, ``None`` where it is not encrypted.
    """

    file: KeyFile
    passphrase: str | None = field(default=None, repr=False)


class SSHAgent:
    """Private keys for the ``agent`` setting, which are tried in the order of :meth:`add_key`.

    The system's agent (``SSH_AUTH_SOCK``) is not used then. One object may serve any number of
    clients, and hosts may have different ones by their ``HostConfig``.
    """

    __slots__ = ("_keys", "_signing")

    def __init__(self) -> None:
        self._keys: list[AgentKey] = []
        self._signing: dict[AgentKey, SigningKey | None] = {}

    def add_key(self, key: str | bytes | os.PathLike[str], passphrase: str | None = None) -> None:
        """Add a private key. It is read now, and once.

        :param key: the path of a private key file (absolute, or from the home folder with
            ``~/``), or the key itself as bytes.
        :param passphrase: what decrypts it; nothing where it is not encrypted.
        :raises PKeyFileError: when the file is missing or is no private key, or when it is
            encrypted and there is no passphrase. A wrong passphrase shows when the key is used.
        """
        file = private_key.load(key)
        if file.encrypted and passphrase is None:
            raise PKeyFileError(
                "The private key %s is encrypted, and needs a passphrase", file.name
            )
        self._keys.append(AgentKey(file, passphrase if file.encrypted else None))

    def get_keys(self) -> tuple[AgentKey, ...]:
        """Return the keys, in the order in which they are tried."""
        return tuple(self._keys)

    def signing_keys(self) -> list[SigningKey]:
        """Return the keys that can sign, decrypted. In a thread; it needs ``parallel-ssh[agent]``.

        One that is unusable, for instance because its passphrase is wrong, is left out.
        """
        # Not at the top: only who forwards the agent needs it.
        from pssh.agent_signing import SigningKey

        for key in self._keys:
            if key not in self._signing:
                try:
                    self._signing[key] = SigningKey(key)
                except PKeyFileError as ex:
                    logger.warning("%s", ex)
                    self._signing[key] = None
        found = (self._signing[key] for key in self._keys)
        return [key for key in found if key is not None]

    def __repr__(self) -> str:
        return f"<SSHAgent with {len(self._keys)} keys>"
