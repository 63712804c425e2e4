"""Kerberos: the method gssapi-with-mic (RFC 4462 section 3), which only libssh can do."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh.config import HostConfig
from pssh.exceptions import AuthenticationError, InvalidAPIUseError, Timeout
from tests.contract.access import access, wait_for_log
from tests.contract.conftest import Connect, ConnectAll, Library
from tests.contract.outputs import eventually, lines
from tests.contract.programs import RunProgram
from tests.servers.account import Account
from tests.servers.kdc import KDC, SilentKDC
from tests.servers.keys import PASSPHRASE
from tests.servers.openssh import OpenSSHServer

StartServer = Callable[..., OpenSSHServer]
UseCache = Callable[[str], None]

#: Shows what was delegated to the session: the cache's name, and what is in it.
SHOW_CACHE = 'echo cache=$KRB5CCNAME; if test -n "$KRB5CCNAME"; then klist -f; fi'

SETTINGS: dict[str, Any] = {
    "gssapi_auth": True,
    "gssapi_server_identity": "localhost",
    "gssapi_client_identity": "somebody@PSSH.TEST",
    "gssapi_delegate_credentials": True,
}


@pytest.fixture(scope="module")
def library() -> Library:
    """The one client library that these tests are for."""
    module = importlib.import_module("pssh.clients.ssh")
    return Library("ssh", module.SSHClient, module.ParallelSSHClient)


@pytest.fixture
def use_cache(kdc: KDC, monkeypatch: pytest.MonkeyPatch) -> UseCache:
    """A function that makes a ticket cache this process's; the realm is this process's at once."""
    for name, value in kdc.environment.items():
        monkeypatch.setenv(name, value)

    def use(cache: str) -> None:
        monkeypatch.setenv("KRB5CCNAME", cache)

    return use


@pytest.fixture
def ticket(kdc: KDC, use_cache: UseCache, tmp_path: Path) -> str:
    """A fresh ticket of the user's that cannot be delegated, in this process's cache."""
    cache = kdc.kinit(tmp_path / "ticket")
    use_cache(cache)
    return cache


@pytest.fixture
def forwardable_ticket(kdc: KDC, use_cache: UseCache, tmp_path: Path) -> str:
    """A fresh ticket of the user's that can be delegated, in this process's cache."""
    cache = kdc.kinit(tmp_path / "forwardable", forwardable=True)
    use_cache(cache)
    return cache


@pytest.fixture
def silent_kdc(
    kdc: KDC, ticket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SilentKDC]:
    """The realm's KDC has become silent; there is a ticket, but none for the server yet."""
    with SilentKDC() as silent:
        configuration = tmp_path / "krb5.conf"
        configuration.write_text(kdc.configuration(silent.port))
        monkeypatch.setenv("KRB5_CONFIG", str(configuration))
        yield silent


@pytest.fixture
def password(account: Account) -> str:
    """The account's password."""
    if account.password is None:
        pytest.skip("Only an account made for the tests has a password that is known.")
    return account.password


def kerberos(server: OpenSSHServer, **settings: Any) -> dict[str, Any]:
    """A client's settings for one attempt with a ticket and nothing else."""
    return access(server, gssapi_auth=True, **settings)


def refused(
    library: Library, server: OpenSSHServer, host: str = "localhost", **settings: Any
) -> AuthenticationError:
    """The error of a client that is not let in."""
    with pytest.raises(AuthenticationError) as caught:
        library.SSHClient(host, **kerberos(server, **settings))
    assert caught.value.host == host
    return caught.value


def logged_in_with_a_ticket(server: OpenSSHServer, since: int, count: int = 1) -> None:
    """Wait until the server has logged that tickets have let somebody in."""
    log = wait_for_log(server, "Accepted gssapi-with-mic for", since, count)
    assert log.count("Accepted") == count


# The client that cannot


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_native_client_names_the_one_that_can(setting: str) -> None:
    native: Any = importlib.import_module("pssh.clients.native")
    given = {setting: SETTINGS[setting]}
    ways: list[Callable[[], object]] = [
        lambda: native.SSHClient("localhost", **given),
        lambda: native.ParallelSSHClient(["localhost"], **given),
        lambda: native.ParallelSSHClient(["localhost"], host_config=[HostConfig(**given)]),
    ]
    for make in ways:
        with pytest.raises(InvalidAPIUseError, match=r"pssh\.clients\.ssh\b") as caught:
            make()
        assert setting in str(caught.value)


# Being let in


def test_a_ticket_is_enough(
    library: Library, gssapi_sshd: OpenSSHServer, ticket: str, kdc: KDC
) -> None:
    since = len(gssapi_sshd.log())

    with library.SSHClient("localhost", **kerberos(gssapi_sshd)) as client:
        assert lines(client.run_command("id -un")) == [gssapi_sshd.user]

    logged_in_with_a_ticket(gssapi_sshd, since)
    assert f"krb5 principal {kdc.principal}" in gssapi_sshd.log()[since:]


def test_it_is_off_unless_asked_for(
    library: Library, gssapi_sshd: OpenSSHServer, ticket: str
) -> None:
    for settings in ({}, {"gssapi_auth": False}):
        with pytest.raises(AuthenticationError, match="nothing to try"):
            library.SSHClient("localhost", **access(gssapi_sshd, **settings))


def test_commands_after_each_other(
    connect: Connect, gssapi_sshd: OpenSSHServer, ticket: str
) -> None:
    client = connect(gssapi_sshd, host="localhost", pkey=None, gssapi_auth=True)

    for number in range(20):
        assert lines(client.run_command(f"echo {number}")) == [str(number)]
    output = client.run_command("seq 1 100000")
    assert sum(1 for _ in lines(output)) == 100000


def test_a_ticket_and_a_key(
    connect: Connect,
    library: Library,
    sshd_with: StartServer,
    kdc: KDC,
    ticket: str,
    keys: dict[str, Path],
) -> None:
    server = sshd_with(
        {
            "GSSAPIAuthentication": "yes",
            "GSSAPIStrictAcceptorCheck": "no",
            "AuthenticationMethods": "gssapi-with-mic,publickey",
        },
        environment=kdc.server_environment,
    )

    client = connect(server, host="localhost", gssapi_auth=True)

    assert lines(client.run_command("echo hello")) == ["hello"]
    assert "offers publickey" in str(refused(library, server))


def test_a_server_that_takes_no_tickets(
    connect: Connect, library: Library, sshd: OpenSSHServer, ticket: str
) -> None:
    client = connect(host="localhost", gssapi_auth=True)

    assert lines(client.run_command("echo hello")) == ["hello"]
    assert "publickey" in str(refused(library, sshd))


# Who is who


def test_the_name_of_the_service(
    connect: Connect, library: Library, gssapi_sshd: OpenSSHServer, ticket: str
) -> None:
    """The realm knows the host by its name, and not by its address."""
    error = refused(library, gssapi_sshd, "127.0.0.1")
    client = connect(
        gssapi_sshd,
        host="127.0.0.1",
        pkey=None,
        gssapi_auth=True,
        gssapi_server_identity="localhost",
    )

    assert "gssapi-with-mic" in str(error)
    assert "127.0.0.1" in str(error)
    assert "not found in Kerberos database" in str(error)
    assert lines(client.run_command("echo hello")) == ["hello"]


def test_naming_the_service_asks_for_kerberos(
    connect: Connect, gssapi_sshd: OpenSSHServer, ticket: str
) -> None:
    """As it does in 2.x."""
    client = connect(gssapi_sshd, pkey=None, gssapi_server_identity="localhost")

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_a_service_that_the_realm_does_not_know(
    connect: Connect, library: Library, gssapi_sshd: OpenSSHServer, ticket: str, password: str
) -> None:
    settings = {"gssapi_auth": True, "gssapi_server_identity": "nowhere"}

    error = refused(library, gssapi_sshd, gssapi_server_identity="nowhere")
    client = connect(gssapi_sshd, host="localhost", pkey=None, password=password, **settings)

    assert "gssapi-with-mic" in str(error)
    assert "host/nowhere" in str(error)
    assert lines(client.run_command("echo hello")) == ["hello"]


def test_the_name_of_the_client(
    connect: Connect,
    library: Library,
    gssapi_sshd: OpenSSHServer,
    kdc: KDC,
    use_cache: UseCache,
    tmp_path: Path,
) -> None:
    """A collection of caches has several tickets, and the first is the default."""
    kdc.kinit(f"DIR::{tmp_path}/tkt", kdc.stranger)
    kdc.kinit(f"DIR::{tmp_path}/tkt1", kdc.principal)
    use_cache(f"DIR:{tmp_path}")

    error = refused(library, gssapi_sshd)
    for name in (kdc.principal, gssapi_sshd.user):
        client = connect(
            gssapi_sshd,
            host="localhost",
            pkey=None,
            gssapi_auth=True,
            gssapi_client_identity=name,
        )
        assert lines(client.run_command("echo hello")) == ["hello"]

    assert "gssapi-with-mic" in str(error)


def test_a_client_without_a_ticket(
    library: Library, gssapi_sshd: OpenSSHServer, ticket: str
) -> None:
    error = refused(library, gssapi_sshd, gssapi_client_identity="nobody@PSSH.TEST")

    assert "gssapi-with-mic" in str(error)
    assert "nobody@PSSH.TEST" in str(error)


def test_a_ticket_of_somebody_else(
    library: Library,
    gssapi_sshd: OpenSSHServer,
    kdc: KDC,
    use_cache: UseCache,
    tmp_path: Path,
) -> None:
    """The ticket is good, and its owner is nobody to the server."""
    use_cache(kdc.kinit(tmp_path / "stranger", kdc.stranger))
    since = len(gssapi_sshd.log())

    error = refused(library, gssapi_sshd)

    assert "gssapi-with-mic: refused" in str(error)
    wait_for_log(gssapi_sshd, "Failed gssapi-with-mic for", since)


# Delegation


def test_delegation(
    library: Library, gssapi_sshd: OpenSSHServer, forwardable_ticket: str, kdc: KDC
) -> None:
    settings = kerberos(gssapi_sshd, gssapi_delegate_credentials=True)

    with library.SSHClient("localhost", **settings) as client:
        name, *shown = lines(client.run_command(SHOW_CACHE))

    text = "\n".join(str(line) for line in shown)
    assert str(name).startswith("cache=FILE:")
    assert f"Default principal: {kdc.principal}" in text
    assert f"krbtgt/{kdc.realm}@{kdc.realm}" in text
    cache = Path(str(name).removeprefix("cache=FILE:"))
    eventually(lambda: not cache.exists(), "the end of the delegated ticket")


def test_nothing_is_delegated_unless_asked_for(
    connect: Connect, gssapi_sshd: OpenSSHServer, forwardable_ticket: str
) -> None:
    for settings in ({}, {"gssapi_delegate_credentials": False}):
        client = connect(gssapi_sshd, host="localhost", pkey=None, gssapi_auth=True, **settings)
        assert lines(client.run_command(SHOW_CACHE)) == ["cache="]


def test_a_ticket_that_cannot_be_delegated(
    connect: Connect, gssapi_sshd: OpenSSHServer, ticket: str
) -> None:
    client = connect(
        gssapi_sshd,
        host="localhost",
        pkey=None,
        gssapi_auth=True,
        gssapi_delegate_credentials=True,
    )

    assert lines(client.run_command(SHOW_CACHE)) == ["cache="]


# No ticket


@pytest.fixture(params=["no ticket", "an expired ticket", "no KDC"])
def no_way_in(
    request: pytest.FixtureRequest,
    kdc: KDC,
    use_cache: UseCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """What keeps a client from showing a ticket; a part of what Kerberos says of it."""
    if request.param == "no ticket":
        use_cache(f"FILE:{tmp_path}/nothing")
        return "No Kerberos credentials available"
    if request.param == "an expired ticket":
        use_cache(request.getfixturevalue("expired_ticket"))
        return "expired"
    use_cache(kdc.kinit(tmp_path / "ticket"))
    with SilentKDC() as ended:
        configuration = tmp_path / "krb5.conf"
        configuration.write_text(kdc.configuration(ended.port))
    monkeypatch.setenv("KRB5_CONFIG", str(configuration))
    return "Cannot contact any KDC"


def test_the_reason_is_in_the_error(
    library: Library, gssapi_sshd: OpenSSHServer, no_way_in: str
) -> None:
    error = refused(library, gssapi_sshd)

    assert "gssapi-with-mic" in str(error)
    assert no_way_in in str(error)
    assert gssapi_sshd.user in str(error)


@pytest.mark.parametrize("other", ["password", "key", "identity"])
def test_the_next_method_has_its_turn(
    connect: Connect,
    gssapi_sshd: OpenSSHServer,
    no_way_in: str,
    account: Account,
    keys: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    library: Library,
    other: str,
) -> None:
    if other == "password" and account.password is None:
        pytest.skip("Only an account made for the tests has a password that is known.")
    monkeypatch.setattr(library.SSHClient, "IDENTITIES", (str(keys["ecdsa"]),))
    ways: dict[str, dict[str, Any]] = {
        "password": {"password": account.password},
        "key": {"pkey": str(keys["ed25519"])},
        "identity": {"identity_auth": True},
    }

    client = connect(
        gssapi_sshd, **{"host": "localhost", "pkey": None, "gssapi_auth": True, **ways[other]}
    )

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_the_reason_is_not_the_last_one(
    library: Library,
    gssapi_sshd: OpenSSHServer,
    expired_ticket: str,
    ticket: str,
    use_cache: UseCache,
) -> None:
    """Caches, and the files that say where they are, are read anew for each client."""
    for cache, works in ((ticket, True), (expired_ticket, False), (ticket, True)):
        use_cache(cache)
        if works:
            library.SSHClient("localhost", **kerberos(gssapi_sshd)).close()
        else:
            assert "expired" in str(refused(library, gssapi_sshd))


# A KDC that does not answer


def test_a_silent_kdc_keeps_nobody_else_waiting(
    connect: Connect,
    library: Library,
    gssapi_sshd: OpenSSHServer,
    silent_kdc: SilentKDC,
    keys: dict[str, Path],
) -> None:
    """Neither the loop, nor the threads that others need for encrypted keys and files."""
    waiting = [
        gevent.spawn(library.SSHClient, "localhost", **kerberos(gssapi_sshd)) for _ in range(10)
    ]
    try:
        eventually(lambda: silent_kdc.asked > 0, "the question to the KDC")

        for settings in (
            {},
            {"pkey": str(keys["ed25519_encrypted"]), "password": PASSPHRASE},
            {"host": "localhost", "pkey": str(keys["rsa"])},
        ):
            client = connect(**settings)
            assert lines(client.run_command("echo hello")) == ["hello"]

        assert not any(each.ready() for each in waiting)
    finally:
        silent_kdc.stop()
        gevent.joinall(waiting)
    for each in waiting:
        assert isinstance(each.exception, AuthenticationError)
        assert "gssapi-with-mic" in str(each.exception)


def test_a_time_out_with_a_silent_kdc(
    library: Library, gssapi_sshd: OpenSSHServer, silent_kdc: SilentKDC
) -> None:
    with pytest.raises(Timeout, match=r"localhost.*authenticate|authenticate.*localhost") as caught:
        library.SSHClient("localhost", **kerberos(gssapi_sshd, timeout=0.5))

    assert silent_kdc.asked
    assert caught.value.host == "localhost"
    assert caught.value.step == "authenticate"
    assert "0.5 seconds" in str(caught.value)


def test_a_silent_kdc_is_the_matter_of_one_host(
    connect_all: ConnectAll,
    gssapi_sshd: OpenSSHServer,
    silent_kdc: SilentKDC,
    keys: dict[str, Path],
) -> None:
    config = [
        HostConfig(gssapi_auth=True, timeout=0.5),
        HostConfig(private_key=str(keys["ed25519"])),
        HostConfig(private_key=str(keys["ed25519_encrypted"]), password=PASSPHRASE),
    ]
    client = connect_all(["localhost"] * 3, gssapi_sshd, pkey=None, host_config=config)

    outputs = client.run_command("echo hello", stop_on_errors=False)

    assert isinstance(outputs[0].exception, Timeout)
    assert [lines(outputs[index]) for index in (1, 2)] == [["hello"], ["hello"]]


def test_a_client_after_a_time_out(
    library: Library,
    gssapi_sshd: OpenSSHServer,
    silent_kdc: SilentKDC,
    kdc: KDC,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The call that cannot be interrupted goes on, and disturbs nobody."""
    with pytest.raises(Timeout):
        library.SSHClient("localhost", **kerberos(gssapi_sshd, timeout=0.5))
    monkeypatch.setenv("KRB5_CONFIG", kdc.environment["KRB5_CONFIG"])

    with library.SSHClient("localhost", **kerberos(gssapi_sshd)) as client:
        silent_kdc.stop()
        assert lines(client.run_command("echo hello")) == ["hello"]


# Many hosts


def test_ten_hosts(connect_all: ConnectAll, gssapi_sshd: OpenSSHServer, ticket: str) -> None:
    since = len(gssapi_sshd.log())
    client = connect_all(
        10, gssapi_sshd, pkey=None, gssapi_auth=True, gssapi_server_identity="localhost"
    )

    outputs = client.run_command("echo hello")

    assert [lines(output) for output in outputs] == [["hello"]] * 10
    logged_in_with_a_ticket(gssapi_sshd, since, 10)


def test_ten_hosts_to_which_is_delegated(
    connect_all: ConnectAll, gssapi_sshd: OpenSSHServer, forwardable_ticket: str
) -> None:
    client = connect_all(
        ["localhost"] * 10,
        gssapi_sshd,
        pkey=None,
        gssapi_auth=True,
        gssapi_delegate_credentials=True,
    )

    outputs = client.run_command("echo $KRB5CCNAME")

    caches = [str(lines(output)[0]).removeprefix("FILE:") for output in outputs]
    assert len(set(caches)) == 10
    assert all(Path(cache).exists() for cache in caches)
    client.close()
    eventually(
        lambda: not any(Path(cache).exists() for cache in caches), "the end of what was delegated"
    )


def test_settings_of_one_host(
    connect_all: ConnectAll, gssapi_sshd: OpenSSHServer, ticket: str, keys: dict[str, Path]
) -> None:
    config = [
        HostConfig(gssapi_auth=True, gssapi_server_identity="localhost"),
        HostConfig(private_key=str(keys["rsa"])),
        HostConfig(),
        HostConfig(gssapi_auth=True, gssapi_server_identity="nowhere"),
    ]
    client = connect_all(4, gssapi_sshd, pkey=None, host_config=config)

    outputs = client.run_command("echo hello", stop_on_errors=False)

    assert [lines(outputs[index]) for index in (0, 1)] == [["hello"], ["hello"]]
    assert "nothing to try" in str(outputs[2].exception)
    assert "host/nowhere" in str(outputs[3].exception)


# Programs


@pytest.fixture
def run_with_kerberos(run_program: RunProgram, gssapi_sshd: OpenSSHServer) -> Callable[[str], None]:
    """Runs a program whose ``settings`` are those for a ticket and nothing else."""

    def run(source: str) -> None:
        run_program(f"settings = {kerberos(gssapi_sshd)!r}\n{textwrap.dedent(source)}")

    return run


def test_a_program_that_finds_its_realm_late(
    run_with_kerberos: Callable[[str], None], use_cache: UseCache, kdc: KDC, ticket: str
) -> None:
    """What a program says in ``os.environ`` before it connects is good enough."""
    run_with_kerberos(
        f"""
        for name in ("KRB5_CONFIG", "KRB5CCNAME"):
            os.environ[name] = "/nonexistent"
        try:
            library.SSHClient("localhost", **settings)
        except Exception as error:
            assert "gssapi-with-mic" in str(error), error
        else:
            raise AssertionError("let in without a ticket")
        os.environ["KRB5_CONFIG"] = {kdc.environment["KRB5_CONFIG"]!r}
        os.environ["KRB5CCNAME"] = {ticket!r}
        with library.SSHClient("localhost", **settings) as client:
            assert list(client.run_command("echo hello").stdout) == ["hello"]
        """
    )


def test_a_program_ends_in_spite_of_a_silent_kdc(
    run_with_kerberos: Callable[[str], None], silent_kdc: SilentKDC
) -> None:
    run_with_kerberos(
        """
        import time
        try:
            library.SSHClient("localhost", **settings, timeout=0.5)
        except Exception as error:
            assert "authenticate" in str(error), error
        else:
            raise AssertionError("let in without a KDC")
        """
    )
    assert silent_kdc.asked


def test_a_forked_child_uses_its_ticket(
    run_with_kerberos: Callable[[str], None], ticket: str
) -> None:
    run_with_kerberos(
        """
        with library.SSHClient("localhost", **settings) as client:
            child = os.fork()
            if child == 0:
                try:
                    with library.SSHClient("localhost", **settings) as new:
                        assert list(new.run_command("echo child").stdout) == ["child"]
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            assert list(client.run_command("echo parent").stdout) == ["parent"]
        """
    )
