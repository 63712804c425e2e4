"""A host and its settings: what the program says, what OpenSSH's configuration adds, defaults."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar

from pssh import agent_signing, proxy_route
from pssh import config as configuration
from pssh.clients.base import algorithms
from pssh.clients.base.agent_forwarding import ForwardedAgent
from pssh.clients.base.auth import Credentials
from pssh.clients.base.connect import Target
from pssh.clients.base.deadline import Deadline
from pssh.clients.base.own_agent import OwnAgent
from pssh.clients.base.resources import Resources
from pssh.clients.base.seam import GSSAPI, Algorithms
from pssh.config import HostConfig
from pssh.constants import DEFAULT_PORT
from pssh.exceptions import InvalidAPIUseError, SSHConfigError
from pssh.proxy_route import Hop, HopName


class ConfiguredHost(ABC):
    """Knows how a host is to be reached and logged in to, whichever library will do it."""

    #: Private keys that are tried where ``identity_auth`` is on, as in ssh_config(5).
    IDENTITIES: ClassVar[Sequence[str]] = (
        "~/.ssh/id_ed25519",
        "~/.ssh/id_ecdsa",
        "~/.ssh/id_rsa",
    )

    #: Settings that this client's library cannot do, and what to say about each.
    _UNSUPPORTED: ClassVar[Mapping[str, str]] = {}

    def _set(
        self, host: str, config: HostConfig, resources: Resources, given: HostConfig | None
    ) -> None:
        """Take the settings.

        :param given: those without the defaults, where an OpenSSH configuration is to be read.
        """
        self.host = host
        self.config = config
        self._resources = resources
        #: What an OpenSSH configuration has still to be asked to complete.
        self._given = given if config.ssh_config else None
        #: What hosts on the way have from this one besides.
        self._inherited = proxy_route.inherited(given) if given and config.ssh_config else None
        #: What tells this host, and those that are reached through it, from others on the way.
        self._leads_to: tuple[Hashable, ...] = ()
        #: Whether it is OpenSSH's configuration that wants an agent forwarded, and finds none.
        self._forwards_if_possible = False

    # What a library has to say

    @classmethod
    @abstractmethod
    def supported_algorithms(cls, setting: str) -> Sequence[str]:
        """Return the names that the library knows for ``"ciphers"``, ``"macs"``,
        ``"kex_algorithms"``, ``"host_key_algorithms"`` or ``"public_key_algorithms"``.
        """

    @classmethod
    @abstractmethod
    def _offered_host_keys(cls) -> Sequence[str]:
        """Return the host key algorithms that are offered to an unknown host."""

    @classmethod
    def check(cls, config: HostConfig) -> None:
        """Raise for settings that cannot work.

        :param config: the settings of a host; unset ones are fine.
        :raises InvalidAPIUseError: naming the setting and the reason.
        """
        for own in proxy_route.own_settings(config):
            cls.check(own)
        client = f"{cls.__module__.rpartition('.')[0]}.{cls.__name__}"
        configuration.refuse_unsupported(config, cls._UNSUPPORTED, client)
        for name in configuration.ALGORITHM_SETTINGS:
            asked = getattr(config, name)
            known = cls.supported_algorithms(name) if asked else ()
            sign, names = algorithms.split_sign(asked) if asked else ("-", [])
            unknown = [each for each in names if each not in known] if sign != "-" else []
            if unknown:
                raise InvalidAPIUseError(
                    "%s: %s unknown to %s, which knows %s",
                    name,
                    ", ".join(unknown),
                    client,
                    ", ".join(known),
                )

    # The settings

    @property
    def user(self) -> str:
        """The user to log in as."""
        return self.config.user or self._resources.login_user()

    @property
    def port(self) -> int:
        """The host's port."""
        return self.config.port or DEFAULT_PORT

    @property
    def alias(self) -> str | None:
        """The host's alias."""
        return self.config.alias

    def _complete_settings(self) -> None:
        """Complete the settings, once.

        :raises SSHConfigError: when it is wrong.
        :raises InvalidAPIUseError: when it asks for what this client cannot do.
        """
        given = self._given
        if given is None:
            return
        assert given.ssh_config is not None
        found = self._settings_from(given.ssh_config, self.host, given)
        self.config = given.over(found).with_defaults()
        self._forwards_if_possible = given.forward_ssh_agent is None
        self._given = None

    def _settings_from(
        self, source: bool | str | os.PathLike[str], host: str, given: HostConfig
    ) -> HostConfig:
        configuration = self._resources.openssh_config(source)
        with Deadline(self.config.timeout, self.host, self.port, "read OpenSSH's configuration"):
            found = configuration.settings(host, given, self.supported_algorithms)
        self.check(found)
        return found

    def _check_password(self) -> None:
        if self.config.keyboard_interactive and self.config.password is None:
            raise InvalidAPIUseError(
                "keyboard_interactive answers prompts with password, and host %s has none",
                self.host,
                host=self.host,
            )

    # What is made of them

    def _target(self) -> Target:
        config, resources = self.config, self._resources
        policy = config.host_key_policy or "accept-new"
        hostname = config.hostname or self.host
        alias = config.host_key_alias
        offered_host_keys = self._offered_host_keys()
        host_keys = config.host_key_algorithms
        if host_keys and algorithms.split_sign(host_keys)[0] in ("+", "-"):
            # Of what is left of ours, or added to it, those on record come first as ever.
            offered_host_keys = algorithms.choose(host_keys, offered_host_keys, offered_host_keys)
            host_keys = None
        return Target(
            host=self.host,
            port=self.port,
            hostname=hostname,
            # An alias stands for the host with its port (ssh_config(5), HostKeyAlias).
            key_name=(alias, DEFAULT_PORT) if alias else (hostname, self.port),
            credentials=self._credentials(),
            algorithms=Algorithms(
                ciphers=_names(config.ciphers),
                macs=_names(config.macs),
                kex=_names(config.kex_algorithms),
                host_keys=_names(host_keys),
                public_keys=self._public_keys(),
                compress=bool(config.compress),
            ),
            host_key_algorithms=offered_host_keys,
            known_hosts=(
                None if policy == "ignore" else resources.known_hosts(config.known_hosts or ())
            ),
            host_key_policy=policy,
            timeout=config.timeout or None,
            attempts=config.num_retries or 1,
            retry_delay=config.retry_delay or 0,
            keepalive=float(config.keepalive_seconds or 0),
            keepalive_count_max=config.keepalive_count_max or 0,
            connect_timeout=config.connect_timeout or None,
        )

    def _credentials(self) -> Credentials:
        """Gather what there is to show to the server."""
        config, resources = self.config, self._resources
        key = resources.key(config.private_key) if config.private_key is not None else None
        own_agent = config.agent if config.allow_agent else None
        identity_files = self.IDENTITIES if config.identity_files is None else config.identity_files
        return Credentials(
            user=self.user,
            gssapi=self._gssapi(),
            certificate=(
                resources.certificate(config.cert_file, key)
                if config.cert_file is not None
                else None
            ),
            key=key,
            agent=(
                resources.agent(config.identity_agent)
                if config.allow_agent and own_agent is None
                else None
            ),
            agent_keys=own_agent.get_keys() if own_agent is not None else (),
            identity_files=_paths(identity_files) if config.identity_auth else (),
            identities_only=bool(config.identities_only),
            certificate_files=_paths(config.certificate_files or ()),
            algorithms=self._public_keys(),
            password=config.password,
            keyboard_interactive=bool(config.keyboard_interactive),
        )

    def _public_keys(self) -> tuple[str, ...] | None:
        """Return the algorithms that keys may sign with; ``None`` for all."""
        asked = self.config.public_key_algorithms
        if asked is None:
            return None
        return tuple(algorithms.choose(asked, algorithms.PUBLIC_KEYS, algorithms.PUBLIC_KEYS))

    def _gssapi(self) -> GSSAPI | None:
        config = self.config
        # As in 2.x, whoever names an identity wants Kerberos.
        named = config.gssapi_server_identity or config.gssapi_client_identity
        if not config.gssapi_auth and not named:
            return None
        return GSSAPI(
            server_identity=config.gssapi_server_identity or self.host,
            client_identity=config.gssapi_client_identity,
            delegate_credentials=bool(config.gssapi_delegate_credentials),
        )

    def _forwarded_agent(self) -> ForwardedAgent | None:
        """Return the agent that is forwarded to the host, ``None`` where none is to be.

        :raises InvalidAPIUseError: when there is no agent, and the program wants one.
        """
        config = self.config
        if not config.forward_ssh_agent:
            return None
        if config.agent is not None:
            agent_signing.require()
            return OwnAgent(config.agent)
        named = config.forward_ssh_agent
        path = config.identity_agent if isinstance(named, bool) else named
        agent = self._resources.agent(path)
        if agent is None and not self._forwards_if_possible:
            raise InvalidAPIUseError(
                "forward_ssh_agent needs an agent, and there is none for host %s: SSH_AUTH_SOCK "
                "is not set, and no other one is given (agent, identity_agent)",
                self.host,
                host=self.host,
                port=self.port,
            )
        return agent

    def _next_hop(self) -> Hop | None:
        """Return the host in between, which OpenSSH's configuration may know more of."""
        if self._inherited is None:
            return proxy_route.next_hop(self.config)
        hop = proxy_route.next_hop(self.config, self._openssh_hop_config)
        if hop is not None and hop.key() in self._leads_to:
            raise SSHConfigError(
                "In OpenSSH's configuration host %s is reached through itself (ProxyJump): "
                "leave it out there with !%s",
                hop.host,
                hop.host,
                host=self.host,
                port=self.port,
            )
        return hop

    def _openssh_hop_config(self, name: HopName, own: HostConfig) -> HostConfig:
        """Make the settings of a host on the way.

        What is said of it goes first, and then what the configuration says of it; the rest is
        as for the target, as far as the program has said that.
        """
        assert self._inherited is not None
        said = HostConfig(user=name.user, port=name.port).over(own)
        source = said.ssh_config if said.ssh_config is not None else self._inherited.ssh_config
        if source:
            said = said.over(self._settings_from(source, name.host, said))
        return said.over(self._inherited).with_defaults()


def _paths(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    several = [paths] if isinstance(paths, str | os.PathLike) else paths
    return tuple(os.fspath(path) for path in several)


def _names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
