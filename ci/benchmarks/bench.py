"""The servers of the benchmark, and the runs of a measure."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.children import cpu_of, descendants
from benchmarks.files import Copies
from benchmarks.gauge import Figures, Settings
from benchmarks.light_server import LightServer
from benchmarks.measure import LINE_CHARACTERS, Measure
from benchmarks.outcome import Outcome
from benchmarks.peer import Peer, RunError, TookTooLongError
from benchmarks.sftp_log import SFTPLog
from tests.servers.account import Account
from tests.servers.delay_proxy import DelayProxy
from tests.servers.keys import create_key
from tests.servers.openssh import OpenSSHServer
from tests.servers.process_tree import wait_until

#: Seconds for sshd to notice that a thousand clients have left.
SETTLE_TIMEOUT = 60

AnyServer = OpenSSHServer | LightServer


class Bench:
    """The servers and what the runs need; a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Bench:
        enter = self._stack.enter_context
        try:
            self._folder = Path(enter(tempfile.TemporaryDirectory(prefix="pssh-bench-")))
            self._home = self._folder / "home"
            self._home.mkdir()
            self._key = create_key(self._folder / "id_ed25519")
            self._account = account = enter(Account())
            self._sftp_log = SFTPLog(account)
            self._server = enter(self._server_in("server", {}))
            # Logging costs something: only the measure that needs the log is given this one.
            self._logging_server = enter(self._server_in("logging", self._sftp_log.options))
            self._bastion = enter(self._server_in("bastion", {"MaxSessions": "1000"}))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _server_in(self, name: str, options: dict[str, str]) -> OpenSSHServer:
        folder = self._folder / name
        folder.mkdir()
        return OpenSSHServer(
            folder,
            account=self._account,
            options=options,
            host_keys=("ed25519",),
            authorized_keys=[self._key],
        )

    def run(self, measure: Measure, rounds: int) -> Outcome:
        """Do so many rounds of a measure."""
        outcome = Outcome({})
        for number in range(rounds):
            self.run_round(measure, number, outcome)
        return outcome

    def run_round(self, measure: Measure, number: int, outcome: Outcome) -> None:
        """Let the peers take turns at a measure; one that fails twice is left out from then on.

        :param outcome: gets the figures.
        """
        peers = turn(measure.peers, number) + (measure.guests if number == 0 else ())
        with ExitStack() as stack:
            scene = _Scene(measure, self, stack)
            for peer in peers:
                outcome.runs.setdefault(peer.name, [])
                if peer.name not in outcome.failures:
                    print(f"{measure.name}: round {number + 1}, {peer.name}", file=sys.stderr)
                    self._run(peer, scene, outcome)

    def _run(self, peer: Peer, scene: _Scene, outcome: Outcome) -> None:
        try:
            outcome.runs[peer.name].append(scene.run(peer, self._home))
        except TookTooLongError as error:
            print(error, file=sys.stderr)
            outcome.fail(peer.name, f"> {scene.measure.patience:g} s")
        except RunError as error:
            print(error, file=sys.stderr)
            if outcome.repeat(peer.name):
                self._run(peer, scene, outcome)
            else:
                outcome.fail(peer.name, "FAILED")

    # What a scene is made of

    def server_for(self, measure: Measure, stack: ExitStack) -> AnyServer:
        """The server that a measure needs."""
        if measure.light_server:
            return stack.enter_context(LightServer(self._folder, self._key))
        several = measure.files is not None and measure.files.hosts > 1
        return self._logging_server if several else self._server

    def copies_for(self, measure: Measure, stack: ExitStack) -> Copies | None:
        """The files that a measure needs."""
        if measure.files is None:
            return None
        return stack.enter_context(Copies(measure.files, self._account))

    def bastion_port_for(self, measure: Measure, stack: ExitStack) -> int:
        """Where the bastion is reached; 0 where a measure has none."""
        if not measure.bastion or not measure.bastion_delay:
            return self._bastion.port if measure.bastion else 0
        folder = self._folder / "bastion"
        way = DelayProxy(folder, self._bastion.host, self._bastion.port, measure.bastion_delay)
        return stack.enter_context(way).port

    def logins(self) -> int:
        """How often somebody has logged in to the bastion."""
        return self._bastion.log().count("Accepted ")

    def settings_for(
        self, measure: Measure, server: AnyServer, port: int, bastion_port: int
    ) -> Settings:
        """What a worker has to know."""
        known_hosts = self._folder / "known_hosts"
        texts = [server.known_hosts_text(port)]
        if measure.bastion:
            texts.append(self._bastion.known_hosts_text(bastion_port))
            # Another server, where there are two bastions in a row.
            texts.append(self._logging_server.known_hosts_text(self._logging_server.port))
        known_hosts.write_text("".join(texts))
        if measure.long_lines:
            self._write_long_lines(measure.long_lines)
        own = dict(measure.settings)
        if "command" in own:
            own["command"] = own["command"].format(folder=self._account.folder)
        return {
            "measure": measure.task,
            "host": server.host,
            "addresses": getattr(server, "addresses", [server.host]),
            "port": port,
            "bastion_port": bastion_port,
            "inner_bastion_port": self._logging_server.port,
            "user": server.user,
            "key": str(self._key),
            "known_hosts": str(known_hosts),
            "pool_size": measure.pool_size,
            **own,
        }

    def proxy_for(self, measure: Measure, server: AnyServer, stack: ExitStack) -> DelayProxy | None:
        """What makes the way to the server long."""
        if not measure.delay:
            return None
        proxy = DelayProxy(self._folder, server.host, server.port, measure.delay)
        return stack.enter_context(proxy)

    def servers(self) -> tuple[OpenSSHServer, ...]:
        """All that are always there."""
        return (self._server, self._logging_server, self._bastion)

    def check_log(self, copies: Copies) -> None:
        """Compare what was copied to many hosts with what the server says."""
        if copies.files.hosts > 1:
            self._sftp_log.check(copies.files.hosts, copies.files.size)

    def clear_log(self) -> None:
        """Forget what the server said."""
        self._sftp_log.clear()

    def _write_long_lines(self, lines: int) -> None:
        path = self._account.folder / "long-lines"
        block = (b"x" * LINE_CHARACTERS + b"\n") * 1000
        with path.open("wb") as file:
            for _ in range(lines // 1000):
                file.write(block)
        self._account.give(path, 0o600)


class _Scene:
    """What the runs of a measure have in common: the server, the way to it, the files."""

    def __init__(self, measure: Measure, bench: Bench, stack: ExitStack) -> None:
        self.measure = measure
        self._bench = bench
        self._server = server = bench.server_for(measure, stack)
        self._proxy = bench.proxy_for(measure, server, stack)
        port = self._proxy.port if self._proxy else server.port
        bastion_port = bench.bastion_port_for(measure, stack)
        self._settings = bench.settings_for(measure, server, port, bastion_port)
        self._copies = bench.copies_for(measure, stack)

    def run(self, peer: Peer, home: Path) -> Figures:
        """Do one run. What it has copied is compared with the original, and removed.

        What the server needed is added as ``server``, and what the way to it needed as ``proxy``,
        both in CPU seconds; and the logins on the bastion as ``logins``.
        """
        copies = self._copies
        own = copies.settings if copies else {}
        before, logins = self._cpu(), self._bench.logins()
        try:
            figures = peer.run({**self._settings, **own}, home, self.measure.patience)
            if copies:
                copies.check()
                self._bench.check_log(copies)
        finally:
            self._settle()
            if copies:
                copies.clear()
            self._bench.clear_log()
        server, proxy = (now - then for now, then in zip(self._cpu(), before, strict=True))
        return {
            **figures,
            "server": server,
            "proxy": proxy,
            "logins": self._bench.logins() - logins,
            "cores": os.cpu_count() or 1,
        }

    def _cpu(self) -> tuple[float, float]:
        servers = {self._server.pid, *(server.pid for server in self._bench.servers())}
        everything = [each for pid in servers for each in (pid, *descendants(pid))]
        return cpu_of(everything), cpu_of([self._proxy.pid] if self._proxy else [])

    def _settle(self) -> None:
        """Wait until the server has nothing left to do for the last client."""
        server = self._server
        # What a process has needed is known once its parent has waited for it.
        forking = self._bench.servers()
        gone = "the server's connections to end"
        wait_until(
            lambda: (
                not any(descendants(each.pid) for each in forking)
                and not (isinstance(server, LightServer) and server.connections())
            ),
            gone,
            SETTLE_TIMEOUT,
        )


def turn(peers: tuple[Peer, ...], number: int) -> tuple[Peer, ...]:
    """The order of a round: each begins in turn."""
    if not peers:
        return peers
    first = number % len(peers)
    return peers[first:] + peers[:first]
