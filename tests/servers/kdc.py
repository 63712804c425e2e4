"""A real MIT Kerberos KDC on loopback, with a realm of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.servers.account import Account
from tests.servers.process import ServerProcess, ServerStartError, find_program, free_port
from tests.servers.process_tree import wait_until

START_ATTEMPTS = 5

Self = TypeVar("Self", bound="SilentKDC")

#: For the libraries and the programs, ours and the server's. Nothing is looked up outside: neither
#: the names of hosts, nor the KDC of a realm, nor the keytabs and caches of the system.
_KRB5_CONF = """\
[libdefaults]
    default_realm = {realm}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    qualify_shortname = ""
    rdns = false
    default_ccache_name = FILE:{folder}/no-ccache
    default_keytab_name = FILE:{folder}/no-keytab
    default_client_keytab_name = FILE:{folder}/no-client-keytab
    default_rcache_name = none:
    # TCP first: a KDC that is not there is found out at once, and one that is silent can be ended.
    udp_preference_limit = 1

[realms]
    {realm} = {{
        kdc = 127.0.0.1:{port}
    }}
"""

_KDC_CONF = """\
[kdcdefaults]
    kdc_listen = 127.0.0.1:{port}
    kdc_tcp_listen = 127.0.0.1:{port}

[realms]
    {realm} = {{
        database_name = {folder}/principal
        key_stash_file = {folder}/stash
        acl_file = {folder}/no-acl
        max_life = 1d
    }}

[logging]
    kdc = STDERR
    admin_server = STDERR
    default = STDERR
"""


class KDC:
    """``krb5kdc`` with a realm, a user and a host in it; a context manager.

    :param folder: an existing folder for its files.
    :param account: the account whose login name is the user's. What its processes have to read
        goes to its folder.
    :param realm: the name of the realm.
    :param host: the host whose principal, ``host/<host>``, is in the keytab.

    Attributes: ``realm``; ``principal`` (the user's), ``stranger`` (one whose name is nobody's
    login name); ``host``; ``port``; ``environment``, what a client needs to find the realm, and
    ``server_environment``, what a server needs; ``log_path``.
    """

    def __init__(
        self, folder: Path, *, account: Account, realm: str = "PSSH.TEST", host: str = "localhost"
    ) -> None:
        self._program = find_program("krb5kdc", "krb5-kdc")
        self.folder = folder.absolute()
        self.log_path = self.folder / "krb5kdc.log"
        self.realm = realm
        self.host = host
        self.principal = f"{account.name}@{realm}"
        self.stranger = f"stranger@{realm}"
        self.port = 0
        self.keytab = self.folder / "keytab"
        # sshd takes the user's rights before it stores what was delegated to it.
        public = account.folder / f"kerberos-{self.folder.name}-{id(self)}"
        public.mkdir(mode=0o755)
        public.chmod(0o755)
        self._krb5_conf = public / "krb5.conf"
        self._kdc_conf = self.folder / "kdc.conf"
        self._passwords = {name: secrets.token_hex(8) for name in (self.principal, self.stranger)}
        self._process: ServerProcess | None = None
        self.environment = {"KRB5_CONFIG": str(self._krb5_conf)}
        self.server_environment = {**self.environment, "KRB5_KTNAME": f"FILE:{self.keytab}"}
        self._start_on_a_free_port()

    def configuration(self, port: int) -> str:
        """The text of a krb5.conf for this realm that says that its KDC has another port."""
        return _KRB5_CONF.format(realm=self.realm, port=port, folder=self._krb5_conf.parent)

    def kinit(
        self,
        cache: str | Path,
        principal: str | None = None,
        *,
        forwardable: bool = False,
        lifetime: str | None = None,
    ) -> str:
        """Get a ticket and put it into a cache.

        :param cache: the path of a file, or a cache's name such as ``DIR::<folder>/tkt``.
        :param principal: whose ticket, by default the user's.
        :param forwardable: whether it may be delegated.
        :param lifetime: as kinit's ``-l``, by default the realm's.
        :returns: the name of the cache, for ``KRB5CCNAME``.
        """
        name = f"FILE:{cache}" if isinstance(cache, Path) else cache
        principal = principal or self.principal
        self._run(
            find_program("kinit", "krb5-user"),
            *("-c", name, "-f" if forwardable else "-F"),
            *(("-l", lifetime) if lifetime else ()),
            principal,
            typed=f"{self._passwords[principal]}\n",
        )
        return name

    def kinit_expired(self, cache: Path) -> str:
        """Get a ticket and wait until it has expired, which takes up to two seconds.

        :returns: the name of the cache, for ``KRB5CCNAME``.
        """
        name = self.kinit(cache, lifetime="1s")
        wait_until(lambda: not self.is_valid(name), "the end of the ticket")
        # Programs don't agree on a ticket's last second.
        last = int(time.time())
        wait_until(lambda: int(time.time()) > last, "the second after the end of the ticket")
        return name

    def is_valid(self, cache: str) -> bool:
        """Whether a cache has a ticket that has not expired."""
        klist = find_program("klist", "krb5-user")
        shown = subprocess.run([klist, "-s", cache], env={**os.environ, **self.environment})
        return shown.returncode == 0

    def klist(self, cache: str) -> str:
        """What is in a cache, for people."""
        return self._run(find_program("klist", "krb5-user"), "-f", cache)

    def log(self) -> str:
        """What it has logged: each ticket that it was asked for."""
        return self.log_path.read_text(errors="replace")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def __enter__(self) -> KDC:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_on_a_free_port(self) -> None:
        self._configure(free_port())
        self._create_database()
        for _ in range(START_ATTEMPTS):
            try:
                self._start()
            except ServerStartError as error:
                # Between our asking for a free port and its listening, others may take it.
                if "Address already in use" not in str(error):
                    raise
                self._configure(free_port())
                continue
            return
        raise ServerStartError(f"The KDC found its port taken {START_ATTEMPTS} times.")

    def _configure(self, port: int) -> None:
        self.port = port
        self._krb5_conf.write_text(self.configuration(port))
        self._krb5_conf.chmod(0o644)
        self._kdc_conf.write_text(_KDC_CONF.format(realm=self.realm, port=port, folder=self.folder))

    def _create_database(self) -> None:
        create = find_program("kdb5_util", "krb5-kdc")
        self._run(create, "-r", self.realm, "create", "-s", "-P", secrets.token_hex(8))
        for principal, password in self._passwords.items():
            self._kadmin("addprinc", "-pw", password, principal)
        host = f"host/{self.host}@{self.realm}"
        self._kadmin("addprinc", "-randkey", host)
        self._kadmin("ktadd", "-k", str(self.keytab), host)

    def _kadmin(self, *query: str) -> None:
        self._run(find_program("kadmin.local", "krb5-admin-server"), "-r", self.realm, *query)

    def _start(self) -> None:
        process = ServerProcess(
            [self._program, "-n", "-r", self.realm, "-P", str(self.folder / "krb5kdc.pid")],
            self.log_path,
            environment=self._environment(),
        )
        try:
            process.wait_until_listening(self.port)
        except BaseException:
            process.stop()
            raise
        self._process = process

    def _environment(self) -> Mapping[str, str]:
        return {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "KRB5_KDC_PROFILE": str(self._kdc_conf),
            **self.environment,
        }

    def _run(self, *command: str, typed: str = "") -> str:
        """Run a program of the realm's and return what it says."""
        done = subprocess.run(
            command, input=typed, capture_output=True, text=True, env=self._environment()
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise RuntimeError(f"{Path(command[0]).name} failed: {said}")
        return done.stdout


class SilentKDC:
    """A KDC that takes every question and answers none; a context manager.

    Attribute: ``port``.
    """

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._listening.setblocking(False)
        self._open: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]

    @property
    def asked(self) -> int:
        """How many connections it has had."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._open.append(self._listening.accept()[0])
        return len(self._open)

    def stop(self) -> None:
        """Close its socket and all connections: whoever waits for an answer is set free."""
        for each in (self._listening, *self._open):
            each.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
