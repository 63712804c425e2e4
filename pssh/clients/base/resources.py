"""What the hosts of a client share: keys that were read, known_hosts, the agent."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence

from pssh import certificate, private_key, proxy_route
from pssh.certificate import Certificate
from pssh.clients.base.agent import Agent
from pssh.clients.base.files.source import Sources
from pssh.clients.base.host_keys import KnownHosts
from pssh.clients.base.openssh_config import OpenSSHConfig
from pssh.clients.base.proxies import Proxies
from pssh.config import HostConfig
from pssh.exceptions import InvalidAPIUseError, PKeyFileError
from pssh.private_key import KeyFile

Path = str | os.PathLike[str]


class Resources:
    """Reads once what every host needs."""

    __slots__ = (
        "_agent",
        "_certificates",
        "_checked",
        "_keys",
        "_known_hosts",
        "_login",
        "_openssh_configs",
        "proxies",
        "sources",
    )

    def __init__(self) -> None:
        self._keys: dict[object, KeyFile] = {}
        #: The settings whose files were checked last: most hosts of a client share theirs.
        self._checked: HostConfig | None = None
        self._certificates: dict[object, Certificate] = {}
        self._openssh_configs: dict[object, OpenSSHConfig] = {}
        self._known_hosts: dict[tuple[str, ...], KnownHosts] = {}
        self._agent: Agent | None = None
        self._login: str | None = None
        #: Connections to the hosts in between.
        self.proxies = Proxies()
        #: The local files that are being copied to hosts.
        self.sources = Sources()

    def key(self, key: str | bytes | os.PathLike[str]) -> KeyFile:
        """Return a private key.

        :raises PKeyFileError: when the file is missing or is no private key.
        """
        found = self._keys.get(key)
        if found is None:
            found = self._keys[key] = private_key.load(key)
        return found

    def certificate(self, path: Path, key: KeyFile | None) -> Certificate:
        """Return the certificate for a key.

        :raises InvalidAPIUseError: when there is no key.
        :raises PKeyFileError: when it is missing, is none, or belongs to another key.
        """
        if key is None:
            raise InvalidAPIUseError("cert_file needs pkey: the private key that it is for")
        found = self._certificates.get(path)
        if found is None:
            found = self._certificates[path] = certificate.load(path)
        # What the key is may not be known before it is decrypted: then its use will tell.
        if key.public is not None and key.identity != found.public_key:
            raise PKeyFileError(
                "Certificate %s does not belong to the private key %s", found.name, key.name
            )
        return found

    def openssh_config(self, source: bool | Path) -> OpenSSHConfig:
        """Return an OpenSSH client configuration.

        :param source: ``True`` for the user's and the system's files, or the path of one.
        :raises SSHConfigError: when it cannot be read or is wrong.
        """
        found = self._openssh_configs.get(source)
        if found is None:
            found = self._openssh_configs[source] = OpenSSHConfig(source)
        return found

    def check_files(self, config: HostConfig) -> None:
        """Read the keys and the certificates of a host, and of those on the way to it.

        So is its OpenSSH configuration.

        :param config: the settings of the host, complete.
        :raises PKeyFileError: when a key or a certificate is missing or is none.
        :raises SSHConfigError: when the configuration cannot be read or is wrong.
        :raises InvalidAPIUseError: when there is no such way.
        """
        if config is self._checked:
            return
        if config.ssh_config:
            self.openssh_config(config.ssh_config)
        proxy_route.check(config)
        self._check_credentials(config)
        for hop in proxy_route.hops(config):
            self._check_credentials(hop.config)
        self._checked = config

    def _check_credentials(self, config: HostConfig) -> None:
        key = self.key(config.private_key) if config.private_key is not None else None
        if config.cert_file is not None:
            self.certificate(config.cert_file, key)

    def known_hosts(self, paths: Path | Sequence[Path]) -> KnownHosts:
        """Return the store for some known_hosts files."""
        several = [paths] if isinstance(paths, str | os.PathLike) else paths
        names = tuple(os.fspath(path) for path in several)
        found = self._known_hosts.get(names)
        if found is None:
            found = self._known_hosts[names] = KnownHosts(names)
        return found

    def agent(self, path: Path | None = None) -> Agent | None:
        """Return the user's agent, ``None`` when there is none.

        :param path: its socket (from the home folder with ``~/``), or ``"none"``; the one that
            ``SSH_AUTH_SOCK`` names by default.
        """
        if path is None:
            path = os.environ.get("SSH_AUTH_SOCK")
        elif path == "none":
            return None
        if not path:
            return None
        name = os.path.expanduser(path)
        if self._agent is None or self._agent.path != name:
            self._agent = Agent(name)
        return self._agent

    def login_user(self) -> str:
        """Return the name of the user who runs this."""
        if self._login is None:
            self._login = getpass.getuser()
        return self._login
