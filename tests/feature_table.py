"""The tables of doc/clients.rst, made from the code.

``python -m tests.feature_table`` prints that page with its tables as they ought to be, and with
``--write`` puts them there.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import socket
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from pssh import config
from pssh.clients.base import algorithms
from pssh.clients.base.seam import Channel, Session
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import PSSHError

PAGE = Path(__file__).resolve().parent.parent / "doc" / "clients.rst"

#: What the page says of a processor: which ciphers come first depends on it.
PROCESSOR = frozenset({"aes", "sha_ni"})

#: The lists of SSH_MSG_KEXINIT in their order (RFC 4253 section 7.1), both directions beside each
#: other.
KEXINIT_LISTS = (
    ("kex_algorithms",),
    ("host_key_algorithms",),
    ("ciphers", "ciphers"),
    ("macs", "macs"),
    ("compression", "compression"),
)

#: In the list of key exchange methods, but signs that an extension is understood.
EXTENSIONS = ("ext-info-c", "kex-strict-c-v00@openssh.com")

Offers = Mapping[str, Sequence[str]]


def leaves(above: type) -> list[type]:
    """The classes below one, as far as there is none below them."""
    direct: list[type] = above.__subclasses__()
    return [leaf for below in direct for leaf in leaves(below)] if direct else [above]


@dataclass(frozen=True)
class Library:
    """A client library.

    :param module: the package that has its clients.
    :param title: what its column is called.
    """

    module: str
    title: str

    @property
    def client(self) -> type[BaseSSHClient]:
        """Its client for one host."""
        made: type[BaseSSHClient] = importlib.import_module(self.module).SSHClient
        return made

    def implements(self, method: str) -> bool:
        """Whether it has a method of the seam, rather than none or the one that only refuses."""
        return any(
            hasattr(above, method) and getattr(below, method) is not getattr(above, method)
            for above in (Session, Channel)
            for below in leaves(above)
            if below.__module__.startswith(f"{self.client.__module__.rpartition('.')[0]}.")
        )

    def takes(self, setting: str) -> bool:
        """Whether a setting can be used with it."""
        return setting not in self.client._UNSUPPORTED

    def offers(self, **settings: Any) -> Offers:
        """What it offers to a server that it does not know, by the kind of algorithm."""
        # The server hangs up when it has heard what it wants to hear.
        with Listener() as server, contextlib.suppress(PSSHError):
            self.client(
                server.host,
                user="nobody",
                port=server.port,
                host_key_policy="ignore",
                num_retries=1,
                timeout=30,
                keepalive_seconds=False,
                allow_agent=False,
                identity_auth=False,
                **settings,
            )
        return read_kexinit(server.heard)


LIBRARIES = (
    Library("pssh.clients.native", "libssh2"),
    Library("pssh.clients.ssh", "libssh"),
)


class Listener:
    """A server for one connection that hears which algorithms are offered; a context manager.

    Attributes: ``host``, ``port``; ``heard``, once it is over: the payload of SSH_MSG_KEXINIT.
    """

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.heard = b""
        self._listening = socket.create_server((self.host, 0))
        self._listening.settimeout(30)
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        with self._listening, self._listening.accept()[0] as connection:
            connection.settimeout(30)
            connection.sendall(b"SSH-2.0-Listener\r\n")
            with connection.makefile("rb") as stream:
                stream.readline()
                packet = stream.read(int.from_bytes(stream.read(4), "big"))
            self.heard = packet[1 : len(packet) - packet[0]]

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def read_kexinit(payload: bytes) -> Offers:
    """The names in SSH_MSG_KEXINIT, without the signs of extensions, which are a list too."""
    assert payload[:1] == b"\x14", "SSH_MSG_KEXINIT is missing"
    at = 17  # the type and a cookie
    found: dict[str, list[str]] = {}
    for names in KEXINIT_LISTS:
        for name in names:
            length = int.from_bytes(payload[at : at + 4], "big")
            offered = payload[at + 4 : at + 4 + length].decode("ascii").split(",")
            assert found.setdefault(name, offered) == offered, f"{name}: not both ways alike"
            at += 4 + length
    every = found["kex_algorithms"]
    found["kex_algorithms"] = [name for name in every if name not in EXTENSIONS]
    found["extensions"] = [name for name in EXTENSIONS if name in every]
    return found


# What each can do


@dataclass(frozen=True)
class Ability:
    """A line of the first table: something that a library can do if all of it is there.

    :param title: what it is called.
    :param settings: settings of a host.
    :param seam: methods of the seam.
    :param client: methods of the client for one host.
    :param extension: a sign in the list of key exchange methods.
    """

    title: str
    settings: Sequence[str] = ()
    seam: Sequence[str] = ()
    client: Sequence[str] = ()
    extension: str | None = None

    def is_there(self, library: Library, offers: Offers) -> bool:
        return (
            all(map(library.takes, self.settings))
            and all(map(library.implements, self.seam))
            and all(hasattr(library.client, method) for method in self.client)
            and (self.extension is None or self.extension in offers["extensions"])
        )


ABILITIES = (
    Ability("Private keys, plain and encrypted", seam=["auth_private_key"]),
    Ability("User certificates", settings=["cert_file"]),
    Ability("Keys of an agent", seam=["auth_signer"]),
    Ability("Keys of the program's own agent", settings=["agent"], seam=["auth_private_key"]),
    Ability("Passwords", seam=["auth_password"]),
    Ability("Prompts (keyboard-interactive)", seam=["auth_keyboard_interactive"]),
    Ability("Kerberos (gssapi-with-mic)", settings=["gssapi_auth"], seam=["auth_gssapi"]),
    Ability("RSA keys that sign with SHA-2 (RFC 8332)", extension="ext-info-c"),
    Ability("Host keys checked against known_hosts", seam=["host_key"]),
    Ability("Strict key exchange (CVE-2023-48795)", extension="kex-strict-c-v00@openssh.com"),
    Ability("Compression", settings=["compress"]),
    Ability("Keep-alive messages", seam=["send_keepalive"]),
    Ability(
        "Commands: output, standard input, exit code and signal",
        seam=[
            *("request_exec", "read", "read_arrived", "has_arrived", "write", "send_eof"),
            *("at_eof", "wait_closed", "exit_status", "close", "release"),
        ],
        client=["run_command"],
    ),
    Ability("Environment variables", seam=["request_environment"]),
    Ability("Terminals, and their size", seam=["request_pty", "request_window_change"]),
    Ability("Signals sent to commands", seam=["request_signal"]),
    Ability("Interactive shells", seam=["request_shell"], client=["open_shell"]),
    Ability(
        "Copies of files (SFTP and SCP)",
        seam=["request_subsystem"],
        client=["copy_file", "copy_remote_file", "scp_send", "scp_recv", "open_sftp"],
    ),
    Ability(
        "Agent forwarding",
        settings=["forward_ssh_agent"],
        seam=["request_agent_forwarding", "take_agent_channels", "next_agent_channel"],
    ),
    Ability(
        "Hosts behind other hosts, and tunnels",
        settings=["proxy_host", "proxy_jump", "proxy_command"],
        seam=["open_direct_tcpip"],
    ),
    Ability("OpenSSH's client configuration", settings=["ssh_config"]),
)

#: What the seam has besides, of which no user knows.
PLUMBING = (
    *("handshake", "server_version", "auth_methods", "open_session", "directions"),
    *("lost_descriptor", "disconnect", "read_pieces"),
)

#: The settings in lines of a table, under the names that constructors know.
SETTINGS = (
    ("user", "password", "port", "alias"),
    ("hostname", "address_family", "bind_address"),
    ("pkey",),
    ("cert_file", "certificate_files"),
    ("identity_files", "identities_only"),
    ("identity_agent", "public_key_algorithms"),
    ("allow_agent", "agent", "identity_auth"),
    ("keyboard_interactive",),
    ("gssapi_auth", "gssapi_server_identity"),
    ("gssapi_client_identity", "gssapi_delegate_credentials"),
    ("host_key_policy", "known_hosts", "host_key_alias"),
    ("kex_algorithms", "host_key_algorithms", "ciphers", "macs"),
    ("compress",),
    ("ipv6_only",),
    ("timeout", "connect_timeout"),
    ("num_retries", "retry_delay"),
    ("keepalive_seconds", "keepalive_count_max"),
    ("set_env", "use_pty"),
    ("buffer_size", "buffer_overflow"),
    ("forward_ssh_agent",),
    ("proxy_host", "proxy_port", "proxy_user"),
    ("proxy_password", "proxy_pkey"),
    ("proxy_jump", "proxy_command", "proxy_max_targets"),
    ("ssh_config",),
    ("_auth_thread_pool",),
)


def abilities(offers: Sequence[Offers]) -> str:
    rows = []
    for ability in ABILITIES:
        there = [
            ability.is_there(library, offered)
            for library, offered in zip(LIBRARIES, offers, strict=True)
        ]
        rows.append([ability.title, *_in_words(there)])
    return table("What", rows)


def settings() -> str:
    rows = []
    for names in SETTINGS:
        there = []
        for library in LIBRARIES:
            answers = {library.takes(config.ARGUMENT_NAMES.get(name, name)) for name in names}
            if len(answers) > 1:
                raise ValueError(f"{', '.join(names)} need lines of their own")
            there.append(answers.pop())
        answer = ["no effect"] * len(there) if _is_deprecated(names[0]) else _in_words(there)
        rows.append([", ".join(f"``{name}``" for name in names), *answer])
    return table("Setting", rows)


def _in_words(there: Sequence[bool]) -> list[str]:
    absent = "no" if any(there) else "not yet"
    return ["yes" if answer else absent for answer in there]


def _is_deprecated(argument: str) -> bool:
    if argument not in config.ARGUMENT_NAMES:
        return False
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            config.HostConfig(**{config.ARGUMENT_NAMES[argument]: True})  # type: ignore[arg-type]
        except ValueError:
            return False
    return any(issubclass(warning.category, DeprecationWarning) for warning in warned)


# What each offers


def names_of(setting: str, known: Sequence[Sequence[str]], offers: Sequence[Offers]) -> str:
    """A table of algorithms: the place of each in what is offered."""
    places: dict[str, list[str]] = {}
    offered = [each[setting] for each in offers]
    for name in dict.fromkeys(name for names in (*offered, *known) for name in names):
        places[name] = [
            str(first.index(name) + 1)
            if name in first
            else ("on request" if name in all_known else "no")
            for first, all_known in zip(offered, known, strict=True)
        ]
    return table("Name", [[f"``{name}``", *cells] for name, cells in places.items()])


def table(title: str, rows: Sequence[Sequence[str]]) -> str:
    """A simple table of reStructuredText with a column for each library."""
    header = [title, *(library.title for library in LIBRARIES)]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def tables() -> dict[str, str]:
    """Every table of the page, by its name there."""
    with mock.patch.object(algorithms, "_processor_features", return_value=PROCESSOR):
        offers = [library.offers() for library in LIBRARIES]
        compressed = [library.offers(compress=True) for library in LIBRARIES]
    for offered in offers:
        assert offered["compression"] == ["none"], "compressed without being asked to"
    made = {"abilities": abilities(offers), "settings": settings()}
    for setting in ("kex_algorithms", "host_key_algorithms", "ciphers", "macs"):
        known = [library.client.supported_algorithms(setting) for library in LIBRARIES]
        made[setting] = names_of(setting, known, offers)
    nothing: list[Sequence[str]] = [() for _ in LIBRARIES]
    made["compression"] = names_of("compression", nothing, compressed)
    return made


# The page

#: Where a table stands: between the comments ``name begins`` and ``name ends``.
PLACE = re.compile(r"^\.\. (\w+) begins$\n.*?^\.\. \1 ends$\n", re.DOTALL | re.MULTILINE)


def rewritten(page: str, made: Mapping[str, str]) -> str:
    """A page with its tables as they ought to be.

    :raises ValueError: unless the page has one place for each of them, and no other.
    """
    names = [found[1] for found in PLACE.finditer(page)]
    if sorted(names) != sorted(made):
        raise ValueError(f"There are places for {names}, and tables for {list(made)}")

    def place(found: re.Match[str]) -> str:
        name = found[1]
        return f".. {name} begins\n\n{made[name]}\n\n.. {name} ends\n"

    return PLACE.sub(place, page)


def main(arguments: Sequence[str]) -> None:
    page = rewritten(PAGE.read_text(encoding="utf-8"), tables())
    if "--write" in arguments:
        PAGE.write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)


if __name__ == "__main__":
    main(sys.argv[1:])
