"""Hosts behind other hosts: reached through them, over one connection, or not at all."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.clients.base.task import Task
from pssh.config import HostConfig
from pssh.exceptions import (
    AuthenticationError,
    ConnectError,
    ConnectionLostError,
    HostKeyMismatchError,
    ProxyConnectionLostError,
    ProxyError,
    ProxyTimeout,
    PSSHError,
    Timeout,
    UnknownHostKeyError,
)
from tests.conftest import StartServer
from tests.contract.bastions import Fleet, logins
from tests.contract.conftest import Connect, ConnectAll, Library, SettingsFor
from tests.contract.outputs import READS_NOTHING, WAITS, eventually, lines, stdin, stdout
from tests.contract.test_wake_ups import ask_and_hear
from tests.servers.account import Account
from tests.servers.fakes import NeverAccepts, ResetsAtOnce, Silent
from tests.servers.gate import Gate
from tests.servers.keys import create_key
from tests.servers.openssh import QUICK, OpenSSHServer

Failure = Callable[..., Exception]


@pytest.fixture(scope="module")
def bastions(
    tmp_path_factory: pytest.TempPathFactory, account: Account, authorized_keys: list[Path]
) -> Iterator[tuple[OpenSSHServer, OpenSSHServer]]:
    """Two servers to go through. The first one has an IPv6 address, too."""

    def make(ipv6: bool) -> OpenSSHServer:
        return OpenSSHServer(
            tmp_path_factory.mktemp("bastion"),
            account=account,
            options=QUICK,
            host_keys=("ed25519",),
            authorized_keys=authorized_keys,
            ipv6=ipv6,
        )

    with make(True) as outer, make(False) as inner:
        yield outer, inner


@pytest.fixture(autouse=True)
def all_gone(bastions: tuple[OpenSSHServer, OpenSSHServer]) -> Iterator[None]:
    """Whoever is the last to use a bastion's connection closes it."""
    yield
    for server in bastions:
        eventually(partial(_is_deserted, server), "the connections to the bastions to end")


def _is_deserted(server: OpenSSHServer) -> bool:
    return not server.connections()


@pytest.fixture
def fleet(
    sshd: OpenSSHServer, bastions: tuple[OpenSSHServer, OpenSSHServer], tmp_path: Path
) -> Iterator[Fleet]:
    """A target behind a gate, and two bastions that nobody is connected to."""
    with Gate(sshd.host, sshd.port) as gate:
        made = Fleet(sshd, gate, *bastions, tmp_path / "known_hosts_of_the_fleet")
        made.know()
        yield made
        assert gate.refused == 0, "somebody has tried to go around the bastion"


@pytest.fixture
def failure(library: Library, settings_for: SettingsFor, fleet: Fleet) -> Failure:
    """A function that connects in vain and returns the error."""

    def fail(**changes: Any) -> Exception:
        settings = settings_for(fleet.target, **fleet.settings(**changes))
        with pytest.raises(ProxyError) as error:
            library.SSHClient(fleet.target.host, **settings)
        assert (error.value.host, error.value.port) == (fleet.target.host, settings["port"])
        return error.value

    return fail


def test_the_gate_is_closed_to_us(connect: Connect, sshd: OpenSSHServer) -> None:
    with Gate(sshd.host, sshd.port) as gate:
        # It may be turned away before it has seen that somebody has answered.
        with pytest.raises((ConnectError, ConnectionLostError)):
            connect(port=gate.port, host_key_policy="ignore")
        assert gate.refused == 1


def listening_ports() -> set[str]:
    """Where this process listens, as the system writes it."""
    ours = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            ours.add(os.readlink(descriptor))
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]
    ]
    # Its local address, its state, and its inode.
    return {words[1] for words in lines if words[3] == "0A" and f"socket:[{words[9]}]" in ours}


def test_everything_works_behind_a_bastion(
    connect: Connect, fleet: Fleet, tmp_path: Path, remote_folder: Path
) -> None:
    before = listening_ports()
    client = connect(**fleet.settings())
    output = client.run_command("cat; exit 3")
    # Nobody else of this machine gets there through this process.
    assert listening_ports() == before != set()
    stdin(output).write("hello\n")
    stdin(output).close()
    assert lines(output) == ["hello"]
    assert output.exit_code == 3
    content = os.urandom(6_000_000)
    (tmp_path / "file").write_bytes(content)
    client.copy_file(str(tmp_path / "file"), str(remote_folder / "file"))
    client.copy_remote_file(str(remote_folder / "file"), str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == content
    assert sum(1 for _ in stdout(client.run_command("seq 200000"))) == 200_000


def test_nobody_sleeps_through_what_arrived(connect: Connect, fleet: Fleet) -> None:
    client = connect(
        **fleet.settings(proxy_host=None, proxy_port=None),
        proxy_jump=(fleet.jump(fleet.bastion, fleet.inner)),
    )
    outputs = [client.run_command("cat") for _ in range(8)]
    several = [gevent.spawn(ask_and_hear, output, name) for name, output in enumerate(outputs)]
    reading = client.run_command("seq 100000")
    assert sum(1 for _ in stdout(reading)) == 100_000
    gevent.joinall(several, raise_error=True)


def test_one_login_for_all(connect_all: ConnectAll, fleet: Fleet) -> None:
    before = logins(fleet.bastion)
    client = connect_all(20, **fleet.settings())
    for _ in range(2):
        outputs = client.run_command("echo x")
        assert [lines(output) for output in outputs] == [["x"]] * 20
    assert logins(fleet.bastion) == before + 1
    client.hosts = client.hosts[:1]
    assert lines(client.run_command("echo x")[0]) == ["x"]
    client.close()
    eventually(lambda: not fleet.bastion.connections(), "the bastion's connection to end")
    # It is opened again for whoever comes next.
    assert lines(client.run_command("echo x")[0]) == ["x"]
    assert logins(fleet.bastion) == before + 2


def test_no_more_targets_than_allowed(connect_all: ConnectAll, fleet: Fleet) -> None:
    before = logins(fleet.bastion)
    client = connect_all(10, **fleet.settings(proxy_max_targets=4))
    assert [lines(output) for output in client.run_command("echo x")] == [["x"]] * 10
    assert logins(fleet.bastion) == before + 3


def test_who_logs_in_differently_has_a_connection_of_his_own(
    connect_all: ConnectAll, fleet: Fleet, keys: dict[str, Path]
) -> None:
    before = logins(fleet.bastion)
    config = [
        HostConfig(),
        HostConfig(proxy_pkey=str(keys["rsa"])),
        HostConfig(proxy_host=fleet.inner.host, proxy_port=fleet.inner.port),
        HostConfig(timeout=20, alias="other", num_retries=2),
    ]
    client = connect_all(4, host_config=config, **fleet.settings())
    assert [lines(output) for output in client.run_command("echo x")] == [["x"]] * 4
    assert logins(fleet.bastion) == before + 2


def test_several_hops(connect: Connect, fleet: Fleet, keys: dict[str, Path]) -> None:
    way = fleet.settings(proxy_host=None, proxy_port=None)
    user = fleet.bastion.user
    of_the_inner = HostConfig(user=user, port=fleet.inner.port, private_key=keys["rsa"])
    for jump in (
        fleet.jump(fleet.inner, fleet.bastion),
        f"{user}@{fleet.bastion.host}:{fleet.bastion.port}, {fleet.jump(fleet.inner)}",
        [f"{user}@[::1]:{fleet.bastion.port}", (fleet.inner.host, of_the_inner)],
        fleet.jump(fleet.bastion, fleet.inner, fleet.bastion),
    ):
        before = logins(fleet.bastion), logins(fleet.inner)
        with connect(**way, proxy_jump=jump) as client:
            assert lines(client.run_command("echo x")) == ["x"]
        assert logins(fleet.bastion) > before[0]
        assert logins(fleet.inner) == before[1] + 1
    assert "RSA SHA256:" in fleet.inner.log()


def test_hops_of_openssh_s_configuration(
    connect_all: ConnectAll, fleet: Fleet, keys: dict[str, Path], tmp_path: Path
) -> None:
    """Each is looked up there by its own name, with its own key, and its own way."""
    config = tmp_path / "config"
    config.write_text(
        f"Host target* jumping\n  HostName {fleet.target.host}\n  Port {fleet.gate.port}\n"
        f"Host target*\n  IdentityFile {keys['ed25519']}\n  ProxyJump %r@inner\n"
        f"Host jumping\n  ProxyJump bastion,inner\n  IdentityFile {keys['ed25519']}\n"
        f"Host inner\n  HostName {fleet.inner.host}\n  Port {fleet.inner.port}\n"
        f"  IdentityFile {keys['rsa']}\n  ProxyJump bastion\n"
        f"Host bastion\n  HostName {fleet.bastion.host}\n  Port {fleet.bastion.port}\n"
        f"  IdentityFile {keys['ecdsa']}\n"
        f"Host *\n  User {fleet.target.user}\n  UserKnownHostsFile {fleet.known_hosts}\n"
        "  StrictHostKeyChecking yes\nHost loop *.loop\n  ProxyJump loop\n"
        "Host ping\n  ProxyJump pong\nHost pong\n  ProxyJump ping\n"
    )
    unset = dict.fromkeys(("user", "port", "pkey", "known_hosts"))
    hosts = ["target1", "target2", "jumping", "a.loop", "ping"]
    before = logins(fleet.bastion), logins(fleet.inner)
    since = len(fleet.bastion.log()), len(fleet.inner.log())
    client = connect_all(hosts, **unset, ssh_config=config, identity_auth=True)

    outputs = client.run_command("echo x", stop_on_errors=False)

    assert [lines(output) for output in outputs[:3]] == [["x"]] * 3
    for output in outputs[3:]:
        assert isinstance(output.exception, PSSHError)
        assert "is reached through itself (ProxyJump)" in str(output.exception)
    # The targets share what leads to them.
    assert logins(fleet.bastion) == before[0] + 1
    assert logins(fleet.inner) <= before[1] + 2
    assert "ECDSA SHA256:" in fleet.bastion.log()[since[0] :]
    assert "RSA SHA256:" in fleet.inner.log()[since[1] :]

    # What the program says of a way wins.
    inners = logins(fleet.inner)
    client = connect_all(["target1"], **unset, ssh_config=config, identity_auth=True,
                         proxy_jump="bastion")  # fmt: skip
    assert lines(client.run_command("echo x")[0]) == ["x"]
    assert logins(fleet.inner) == inners


def test_settings_of_hosts(connect_all: ConnectAll, fleet: Fleet, sshd: OpenSSHServer) -> None:
    before = logins(fleet.bastion), logins(fleet.inner)
    fleet.know((sshd, sshd.port))
    config = [
        HostConfig(),
        HostConfig(proxy_jump="none", port=sshd.port),
        HostConfig(proxy_command="none", port=sshd.port),
        HostConfig(proxy_jump=fleet.jump(fleet.inner)),
    ]
    way = fleet.settings(proxy_port=None, proxy_host=None)
    client = connect_all(4, host_config=config, **way, proxy_jump=fleet.jump(fleet.bastion))
    assert [lines(output) for output in client.run_command("echo x")] == [["x"]] * 4
    assert logins(fleet.bastion) == before[0] + 1
    assert logins(fleet.inner) == before[1] + 1


def test_host_keys_are_checked_by_the_hops_own_names(
    connect: Connect, fleet: Fleet, failure: Failure, keys: dict[str, Path]
) -> None:
    hop = f"[127.0.0.1]:{fleet.bastion.port}"
    # The key of another server, and then none at all.
    known = fleet.known_hosts.read_text().splitlines(keepends=True)
    others = [line for line in known if hop not in line]
    (ours,) = (line for line in known if hop in line)
    other_key = (keys["ed25519"].with_suffix(".pub")).read_text().split()[1]
    fleet.known_hosts.write_text("".join([*others, ours.replace(ours.split()[-1], other_key)]))
    error = failure()
    assert isinstance(error.__cause__, HostKeyMismatchError)
    assert error.__cause__.port == fleet.bastion.port
    assert f"proxy 127.0.0.1:{fleet.bastion.port}" in str(error)
    fleet.known_hosts.write_text("".join(others))
    assert isinstance(failure().__cause__, UnknownHostKeyError)
    # The same of a hop that is not the first.
    way = {"proxy_host": None, "proxy_port": None}
    error = failure(**way, proxy_jump=fleet.jump(fleet.inner, fleet.bastion))
    assert isinstance(error.__cause__, UnknownHostKeyError)
    assert error.__cause__.port == fleet.bastion.port
    fleet.known_hosts.write_text("")
    connect(**fleet.settings(host_key_policy="accept-new"))
    recorded = fleet.known_hosts.read_text()
    assert f":{fleet.bastion.port} " in recorded
    assert f":{fleet.gate.port} " in recorded


def test_a_bastion_that_dies_fails_all(connect_all: ConnectAll, fleet: Fleet) -> None:
    client = connect_all(5, **fleet.settings())
    outputs = client.run_command(f"echo x; {WAITS}")
    assert [next(stdout(output)) for output in outputs] == ["x"] * 5
    fleet.bastion.kill_connections()
    client.join(timeout=20)
    for output in outputs:
        error = output.exception
        assert isinstance(error, ProxyConnectionLostError)
        assert isinstance(error, ConnectionLostError)
        assert (error.host, error.port) == (fleet.target.host, fleet.gate.port)
        assert (error.proxy_host, error.proxy_port) == (fleet.bastion.host, fleet.bastion.port)
        assert f"lost with its proxy {fleet.bastion.host}:{fleet.bastion.port}" in str(error)
        assert output.exit_code is None
        with pytest.raises(ProxyConnectionLostError):
            next(stdout(output))
    assert [lines(output) for output in client.run_command("echo x")] == [["x"]] * 5


def test_a_bastion_that_has_died_unnoticed(connect_all: ConnectAll, fleet: Fleet) -> None:
    client = connect_all(3, **fleet.settings())
    every, client.hosts = client.hosts, client.hosts[:1]
    assert lines(client.run_command("echo x")[0]) == ["x"]
    before = logins(fleet.bastion)
    # The loop has no turn until it is used for the others.
    fleet.bastion.kill_connections()
    client.hosts = every
    assert [lines(output) for output in client.run_command("echo x")] == [["x"]] * 3
    assert logins(fleet.bastion) == before + 1


def test_a_single_channel_that_dies(connect_all: ConnectAll, fleet: Fleet) -> None:
    with Gate(fleet.target.host, fleet.target.port) as other:
        fleet.know((fleet.target, other.port))
        config = [HostConfig(port=other.port), HostConfig()]
        client = connect_all(2, host_config=config, **fleet.settings())
        lost, kept = client.run_command(WAITS)
        other.cut()
        assert next(client.as_completed()) is lost
        assert isinstance(lost.exception, ConnectionLostError)
        assert not isinstance(lost.exception, ProxyError)
        stdin(kept).write("x\n")
        assert next(stdout(kept)) == "x"
        stdin(kept).close()
        assert [lines(output) for output in client.run_command("echo x")] == [["x"]] * 2


def test_a_hop_that_lets_nobody_in(fleet: Fleet, failure: Failure, tmp_path: Path) -> None:
    stranger = str(create_key(tmp_path / "stranger"))
    error = failure(proxy_pkey=stranger, num_retries=3, retry_delay=0)
    assert isinstance(error.__cause__, AuthenticationError)
    assert f"proxy 127.0.0.1:{fleet.bastion.port}" in str(error)
    assert "refused" in str(error)
    way = {"proxy_host": None, "proxy_port": None}
    wrong = HostConfig(private_key=stranger)
    error = failure(**way, proxy_jump=[fleet.jump(fleet.bastion), (fleet.jump(fleet.inner), wrong)])
    assert isinstance(error, ProxyError)
    assert (error.proxy_host, error.proxy_port) == (fleet.inner.host, fleet.inner.port)
    error = failure(**way, proxy_jump=[(fleet.jump(fleet.bastion), wrong), fleet.jump(fleet.inner)])
    assert isinstance(error, ProxyError)
    assert error.proxy_port == fleet.bastion.port
    assert f"through proxy 127.0.0.1:{fleet.inner.port}: Host" in str(error)


def test_a_wrong_password_is_sent_once(
    connect_all: ConnectAll, fleet: Fleet, account: Account
) -> None:
    if account.password is None:
        pytest.skip("The account's password is not known.")
    before = fleet.bastion.log().count("Failed password")
    way = fleet.settings(proxy_password="wrong", num_retries=3, retry_delay=0)
    # The target is not to be sent the password of the hop, so a key that only it knows.
    client = connect_all(5, **way, proxy_pkey=None, pkey=None, password=account.password)
    outputs = client.run_command("true", stop_on_errors=False)
    assert all(isinstance(output.exception, ProxyError) for output in outputs)
    assert fleet.bastion.log().count("Failed password") == before + 1


def test_one_attempt_for_all_to_reach_a_bastion(connect_all: ConnectAll, fleet: Fleet) -> None:
    with ResetsAtOnce() as server:
        way = fleet.settings(proxy_port=server.port, num_retries=2, retry_delay=0)
        client = connect_all(5, **way)
        outputs = client.run_command("true", stop_on_errors=False)
        assert all(isinstance(output.exception, ProxyError) for output in outputs)
        assert server.accepted == 2


def test_a_bastion_that_is_not_there(failure: Failure) -> None:
    with NeverAccepts() as server:
        error = failure(proxy_port=server.port, timeout=0.5)
        assert isinstance(error, ProxyTimeout)
        assert error.step == "connect"
    error = failure(proxy_port=server.port)
    assert isinstance(error.__cause__, ConnectError)
    assert "Connection refused" in str(error)
    with Silent() as silent:
        error = failure(proxy_port=silent.port, timeout=0.5)
    assert isinstance(error, ProxyTimeout)
    assert isinstance(error, Timeout)
    assert error.step == "handshake"
    assert f"127.0.0.1:{silent.port} took longer than 0.5 seconds" in str(error)


def test_a_target_that_is_not_there(fleet: Fleet, failure: Failure) -> None:
    before = logins(fleet.bastion)
    with NeverAccepts() as server:
        error = failure(port=server.port, timeout=2)
        assert isinstance(error, ProxyTimeout)
        assert error.step == "connect through the proxy"
    error = failure(port=server.port, num_retries=2, retry_delay=0)
    assert isinstance(error, ProxyError)
    assert error.proxy_port == fleet.bastion.port
    assert "connect failed" in str(error)
    assert str(error).endswith("retry 2/2")
    # Once for each client.
    assert logins(fleet.bastion) == before + 2


def test_a_silent_target(connect: Connect, fleet: Fleet) -> None:
    with Silent() as server, pytest.raises(Timeout, match="handshake") as error:
        connect(**fleet.settings(port=server.port, timeout=2))
    assert not isinstance(error.value, ProxyError)
    assert error.value.port == server.port


def test_a_bastion_that_dies_while_others_connect_through_it(
    connect: Connect, fleet: Fleet
) -> None:
    before = logins(fleet.bastion)
    with Silent() as silent, NeverAccepts() as never:
        ways = [fleet.settings(port=server.port, num_retries=1) for server in (silent, never)]
        attempts = [Task(partial(connect, **way)) for way in ways]
        for attempt in attempts:
            attempt.start()
        eventually(lambda: silent.accepted == 1, "the handshake to begin")
        eventually(lambda: logins(fleet.bastion) == before + 2, "both to have logged in")
        fleet.bastion.kill_connections()
        for attempt, way in zip(attempts, ways, strict=True):
            with pytest.raises(ProxyError, match="was lost") as error:
                attempt.get(timeout=20)
            assert error.value.port == way["port"]
            assert error.value.proxy_port == fleet.bastion.port
        # The other one may not know yet that it has logged in.
        assert isinstance(attempts[0].exception, ProxyConnectionLostError)


@pytest.mark.parametrize(
    "options", [{"PermitOpen": "none"}, {"AllowTcpForwarding": "no"}], ids=lambda o: next(iter(o))
)
def test_a_bastion_that_forwards_nothing(
    connect_all: ConnectAll, fleet: Fleet, sshd_with: StartServer, options: dict[str, str]
) -> None:
    server = sshd_with(options)
    fleet.know((server, server.port))
    config = [HostConfig(proxy_port=server.port, num_retries=3), HostConfig()]
    client = connect_all(2, host_config=config, **fleet.settings())
    refused, fine = client.run_command("echo x", stop_on_errors=False)
    assert lines(fine) == ["x"]
    assert isinstance(refused.exception, ProxyError)
    assert refused.exception.proxy_port == server.port
    assert "administratively prohibited" in str(refused.exception)
    # No use trying again.
    assert "retry 1/3" in str(refused.exception)
    with pytest.raises(ProxyError):
        client.run_command("echo x")


def test_nothing_is_left_behind(connect: Connect, fleet: Fleet) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def use() -> None:
        client = connect(**fleet.settings())
        output = client.run_command(READS_NOTHING)
        client.close()
        client.wait_finished(output)
        assert isinstance(output.exception, ConnectionLostError)

    def all_gone() -> bool:
        # The gate has descriptors in this process, too.
        return not fleet.bastion.connections() and fleet.gate.connections == 0

    use()
    eventually(all_gone, "the connections to end")
    before = descriptors()
    for _ in range(3):
        use()
    eventually(all_gone, "the connections to end")
    eventually(lambda: descriptors() <= before, "the descriptors to be closed")


def test_one_that_is_forgotten_is_closed(
    library: Library, settings_for: SettingsFor, fleet: Fleet
) -> None:
    def use() -> None:
        settings = settings_for(fleet.target, **fleet.settings())
        client: BaseSSHClient = library.SSHClient(fleet.target.host, **settings)
        assert lines(client.run_command("echo x")) == ["x"]

    use()
    gc.collect()
    eventually(lambda: not fleet.bastion.connections(), "the bastion's connection to end")
    eventually(lambda: fleet.gate.connections == 0, "the connection behind it to end")


def test_one_that_is_given_up_harms_no_other(connect_all: ConnectAll, fleet: Fleet) -> None:
    with NeverAccepts() as server:
        config = [HostConfig(port=server.port) for _ in range(3)] + [HostConfig()]
        client = connect_all(4, host_config=config, **fleet.settings())
        connecting = client.connect_auth()
        connecting[3].get()
        gevent.killall(connecting[:3])
        before = logins(fleet.bastion)
        client.host_config = [HostConfig()] * 4
        client._clients[:3] = [None] * 3
        assert [lines(output) for output in client.run_command("echo x")] == [["x"]] * 4
        assert logins(fleet.bastion) == before


def test_new_keys_on_both_connections(
    connect_all: ConnectAll,
    fleet: Fleet,
    sshd_with: StartServer,
    tmp_path: Path,
    remote_folder: Path,
) -> None:
    """While a target's keys are exchanged its bytes come over a bastion that does the same."""
    often = {"RekeyLimit": "1M"}
    bastion, target = sshd_with(often), sshd_with(often)
    fleet.know((bastion, bastion.port), (target, target.port))
    content = os.urandom(8_000_000)
    (remote_folder / "source").write_bytes(content)
    way = fleet.settings(port=target.port, proxy_port=bastion.port)
    client = connect_all(3, **way)
    names = [
        {
            "remote_file": str(remote_folder / "source"),
            "local_file": str(tmp_path / f"copy {number}"),
        }
        for number in range(3)
    ]
    outputs = client.run_command("wc -c", stdin=content)
    copies = client.copy_remote_file("%(remote_file)s", "%(local_file)s", copy_args=names)
    gevent.joinall(copies, raise_error=True)
    for name in names:
        assert Path(name["local_file"]).read_bytes() == content
    assert [lines(output) for output in outputs] == [[str(len(content))]] * 3


@pytest.mark.parametrize("killed", ["outer", "inner"])
def test_one_of_several_bastions_that_dies_in_the_middle_of_copies(
    connect_all: ConnectAll, fleet: Fleet, tmp_path: Path, remote_folder: Path, killed: str
) -> None:
    dead = fleet.bastion if killed == "outer" else fleet.inner
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 30)
    way = fleet.settings(proxy_host=None, proxy_port=None)
    client = connect_all(2, **way, proxy_jump=fleet.jump(fleet.bastion, fleet.inner))
    commands = client.run_command(f"echo x; {WAITS}")
    assert [next(stdout(output)) for output in commands] == ["x"] * 2
    copies = client.copy_file(
        str(tmp_path / "large"),
        "%(remote)s",
        copy_args=[{"remote": str(remote_folder / name)} for name in ("first", "second")],
        limit_rate=500_000,
    )
    eventually(
        lambda: all((remote_folder / name).exists() for name in ("first", "second")),
        "the copies to begin",
    )

    dead.kill_connections()
    gevent.joinall(copies, timeout=20)
    client.join(commands, timeout=20)

    outer, inner = (f"{each.host}:{each.port}" for each in (fleet.bastion, fleet.inner))
    errors = [copy.exception for copy in copies] + [output.exception for output in commands]
    for error in errors:
        assert isinstance(error, ConnectionLostError)
        assert (error.host, error.port) == (fleet.target.host, fleet.gate.port)
        assert f"lost with its proxy {inner}" in str(error)
        # The inner one is lost with the outer one, which is named as well then.
        assert (f"lost with its proxy {outer}" in str(error)) is (dead is fleet.bastion)
    before = logins(fleet.bastion), logins(fleet.inner)
    assert [lines(output) for output in client.run_command("echo x")] == [["x"]] * 2
    assert logins(fleet.inner) == before[1] + 1
    assert logins(fleet.bastion) <= before[0] + 1
