"""`pssh.ssh_config`: what a configuration says of a host, compared with what `ssh -G` says."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pssh.config import KNOWN_HOSTS_FILES
from pssh.exceptions import SSHConfigError
from pssh.ssh_config import files, shell, values
from pssh.ssh_config.resolve import Resolved, resolve
from pssh.utils import read_openssh_config
from tests.conftest import missing
from tests.servers.process import MissingProgramError, find_program

#: ssh knows no other home folder than that of the account.
HOME = pwd.getpwuid(os.getuid()).pw_dir
LOGIN = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(scope="module")
def ssh() -> str:
    """OpenSSH's client."""
    try:
        return find_program("ssh", "openssh-client")
    except MissingProgramError as error:
        missing(str(error))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for configurations."""
    return tmp_path_factory.mktemp("ssh_config")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same home folder for both, and variables to refer to."""
    monkeypatch.setenv("HOME", HOME)
    monkeypatch.setenv("PSSH_FOLDER", "/from/variable")


def theirs(ssh: str, path: Path, host: str) -> Mapping[str, list[str]] | None:
    """What `ssh -G` says, keyword -> values; ``None`` where it refuses the configuration."""
    done = subprocess.run(
        [ssh, "-G", "-F", str(path), host], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        return None
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return found


def ours(path: Path, host: str) -> Resolved | None:
    """What we resolve; ``None`` where we refuse the configuration."""
    try:
        return resolve(files.load(path), host, shell.succeeds)
    except SSHConfigError:
        return None


def raw(resolved: Resolved, keyword: str) -> list[str]:
    """The words of a keyword as they stand in the file, where it may come several times."""
    return [line.words[0] for line in resolved.lines.get(keyword, ())]


def check(ssh: str, path: Path, host: str) -> None:
    """Compare what both say of a host."""
    expected, resolved = theirs(ssh, path, host), ours(path, host)
    assert (expected is None) == (resolved is None)
    if expected is None or resolved is None:
        return
    found = values.settings(resolved)

    def one(keyword: str) -> str:
        (value,) = expected[keyword]
        return value

    assert resolved.hostname == one("hostname")
    assert found.port is None or str(found.port) == one("port")
    assert resolved.port == one("port")
    assert (found.user or LOGIN) == one("user")
    # These are shown before their tokens are replaced, and with a default.
    if "identityfile" in resolved.lines:
        assert raw(resolved, "identityfile") == expected["identityfile"]
    else:
        assert len(expected["identityfile"]) > 3
    assert raw(resolved, "certificatefile") == expected.get("certificatefile", [])
    for keyword in ("proxycommand", "proxyjump", "identityagent"):
        value = next(iter(raw(resolved, keyword)), "none")
        assert [value] == expected.get(keyword, ["none"])
    assert (found.host_key_alias,) == (*expected.get("hostkeyalias", [None]),)
    assert (found.bind_address,) == (*expected.get("bindaddress", [None]),)
    assert (found.address_family or "any") == one("addressfamily")
    assert _yes(found.compress) == one("compression")
    assert _yes(found.identities_only) == one("identitiesonly")
    assert str(found.connect_timeout or "none") == one("connecttimeout")
    assert str(found.keepalive_seconds or 0) == one("serveraliveinterval")
    count = 3 if found.keepalive_count_max is None else found.keepalive_count_max
    assert str(count) == one("serveralivecountmax")
    policies = {"strict": ("true", "ask"), "accept-new": ("accept-new",), "ignore": ("false",)}
    assert one("stricthostkeychecking") in policies[found.host_key_policy or "strict"]
    assert bool(found.use_pty) == (one("requesttty") in ("true", "force"))
    forwarded = found.forward_ssh_agent or False
    assert (_yes(forwarded) if isinstance(forwarded, bool) else forwarded) == one("forwardagent")
    sent = [f"{name}={value}" for name, value in (found.set_env or {}).items()]
    assert sent == expected.get("setenv", [])
    for setting, keyword in ALGORITHMS.items():
        names = getattr(found, setting)
        if names is not None:
            check_algorithms(list(names), one(keyword).split(","))
    known_hosts = " ".join(
        (*expected.get("userknownhostsfile", []), *expected.get("globalknownhostsfile", []))
    )
    paths = found.known_hosts if isinstance(found.known_hosts, tuple) else KNOWN_HOSTS_FILES
    written = [os.path.expanduser(path) for path in paths]
    assert [path for path in written if path != os.devnull] == [
        path for path in known_hosts.split() if path != "none"
    ]


ALGORITHMS = {
    "ciphers": "ciphers",
    "macs": "macs",
    "kex_algorithms": "kexalgorithms",
    "host_key_algorithms": "hostkeyalgorithms",
    "public_key_algorithms": "pubkeyacceptedalgorithms",
}


def check_algorithms(ours: list[str], theirs: list[str]) -> None:
    """Compare names, which may say what to change of a client's own list."""
    sign, names = ours[0][0], [ours[0].lstrip("+-^"), *ours[1:]]
    if sign == "+":
        assert theirs[-len(names) :] == names
    elif sign == "^":
        assert theirs[: len(names)] == names
    elif sign == "-":
        assert theirs
        assert not set(names) & set(theirs)
    else:
        assert theirs == names


def _yes(flag: bool | None) -> str:
    return "yes" if flag else "no"


# By chance

NAMES = ("web1", "web2", "Web1", "web1.example", "10.0.0.7", "root", LOGIN, "*", "w*", "web?")
PATTERN = st.sampled_from((*NAMES, "!web1", "!w*", "*.example", "[w]eb1", "*1*", "??b1"))
NEGATION = st.sampled_from(("", "", "!"))
EXEC = st.sampled_from(
    ("true", "false", '"test %h = web1"', '"test %r-%n-%p-%k = root-web1-22-web1"', '"true" # no')
)


def listed(separator: str) -> st.SearchStrategy[str]:
    return st.lists(PATTERN, min_size=1, max_size=3).map(separator.join)


CRITERION = st.one_of(
    st.tuples(NEGATION, st.sampled_from(("all", "canonical", "final"))).map("".join),
    st.tuples(NEGATION, st.just("exec "), EXEC).map("".join),
    st.tuples(
        NEGATION,
        st.sampled_from(("host", "originalhost", "user", "localuser")),
        st.sampled_from((" ", "=", " = ")),
        listed(","),
    ).map("".join),
)
HEAD = st.one_of(
    listed(" ").map("Host {}".format),
    st.lists(CRITERION, min_size=1, max_size=3).map(" ".join).map("Match {}".format),
)
OPTION = st.sampled_from(
    (
        *("HostName web2", "HostName=web1.example", "HostName %h.example", "Hostname 10.0.0.8"),
        *("User root", 'User "other"', "User = other # comment", "Port 23", "port=24"),
        *("IdentityFile ~/.ssh/%h", "IdentityFile none", "IdentityFile /b", "IdentityFile '/c d'"),
        *("CertificateFile /a", 'CertificateFile "/b c"', "IdentitiesOnly yes"),
        *("ProxyJump a,b@c:3", "ProxyJump none", 'ProxyCommand nc %h "x" # y'),
        *("ProxyCommand none", "ProxyCommand = x", "IdentityAgent none", "IdentityAgent /a/b"),
        *('SetEnv A=1 B="x y"', "SetEnv C=1", "ForwardAgent /x", "ForwardAgent no"),
        *("UserKnownHostsFile /x%h /%r%%k ${PSSH_FOLDER}/y", "UserKnownHostsFile none"),
        *("GlobalKnownHostsFile /q /r", "HostKeyAlias alias", "Compression YES"),
        *("ConnectTimeout 1m30", "ConnectTimeout none", "ServerAliveInterval 2h1s"),
        *("ServerAliveCountMax 4", "RequestTTY force", "RequestTTY no", "AddressFamily inet"),
        *("BindAddress 127.0.0.1", "StrictHostKeyChecking off", "StrictHostKeyChecking yes"),
        *("StrictHostKeyChecking accept-new", "PubkeyAcceptedKeyTypes ssh-ed25519"),
        *("IgnoreUnknown Non*", "HashKnownHosts yes", "SendEnv LANG LC_*", "  # comment", "\t"),
        "Include {folder}/one",
        "Include {folder}/t* {folder}/nothing",
    )
)
WRONG = st.sampled_from(
    (
        "Nonsense x",
        'User "root',
        "Host",
        "User a b",
        "Match",
        "Match nonsense x",
        "Port",
        "Match host",
    )
)
LINES = st.lists(
    st.one_of(*[OPTION] * 4, *[HEAD] * 3, *[st.sampled_from(("Match all",))]), max_size=14
)


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    LINES,
    LINES,
    LINES,
    st.lists(WRONG, max_size=1) | st.just([]),
    st.sampled_from(("web1", "web2", "WEB1", "web1.example", "10.0.0.7")),
)
@example(["Match host web1 !all", "Port 23"], [], [], [], "web1")
@example(["Match !user root user *", "Port 23"], [], [], [], "web1")
@example(["Match final host web2", "Port 23", "Host web1", "HostName web2"], [], [], [], "web1")
@example(["Match !final", "Port 23", "Host web2", "Port 24", "Host *", "HostName web2"],
         [], [], [], "web1")  # fmt: skip
@example(["Host web2", "Include {folder}/one"], ["Host *", "Port 23"], [], [], "web1")
@example(["Include {folder}/one", "Port 24"], ["Host web2", "Port 23"], [], [], "web1")
@example(["ProxyJump none", "ProxyCommand x", "ProxyJump a"], [], [], [], "web1")
@example(["IgnoreUnknown Non*"], [], [], ["Nonsense x"], "web1")
def test_ssh_says_the_same(
    ssh: str,
    folder: Path,
    lines: list[str],
    one: list[str],
    two: list[str],
    wrong: list[str],
    host: str,
) -> None:
    for name, content in (("one", one), ("two", two)):
        # What is included includes nothing: nobody would come to an end.
        text = "\n".join(line for line in content if "{folder}" not in line)
        (folder / name).write_text(text + "\n")
    (folder / "config").write_text("\n".join([*lines, *wrong, ""]).replace("{folder}", str(folder)))

    check(ssh, folder / "config", host)


# By hand


@pytest.mark.parametrize(
    "text",
    [
        'HOST "web1"\n\tuSER\t"a b"\t\r\n  Port   =   33  \f\n',
        'User a\\ b\nIdentityFile \'/a "b" c\'\nIdentityFile "/d \'e\' \\" f"\nIdentityFile /\\x\n',
        "IdentityFile /a\nIdentityFile /a\nIdentityFile none\nCertificateFile /c\nHost *\n"
        "CertificateFile /c\nCertificateFile /d",
        "Match host web1,web2 user root,!x exec true\nPort 23\nMatch all\nPort 24\n",
        "Match canonical\nPort 23\nMatch final\nUser u\n",
        "Host * !web1\nPort 23\nHost !web2\nPort 24\nHost web1 web2\nPort 25\n",
        "ConnectTimeout 1w2d3h4m5s\nServerAliveInterval 0\nServerAliveCountMax 0\n",
        "UserKnownHostsFile ~/%n-%u-%i-%d-%% /k\nHostKeyAlias al\n",
        "Ciphers aes256-ctr,aes128-ctr\nMACs +hmac-md5,hmac-sha1-96\n"
        "HostKeyAlgorithms -ssh-ed25519\nKexAlgorithms ^ecdh-sha2-nistp521\n"
        "PubkeyAcceptedAlgorithms rsa-sha2-512,ssh-ed25519\n",
        "Ciphers ^aes256-ctr,3des-cbc\nCiphers aes128-ctr\nMACs hmac-sha2-512\nKexAlgorithms "
        "-curve25519-sha256\nHostKeyAlgorithms +ssh-rsa\nPubkeyAcceptedKeyTypes ssh-rsa\n",
        "HostName fe80::1%%eth0\n",
        "HostName WEB2.Example\n",
        "User\n",
        "Port x\n",
        "HostName %p\n",
        "SetEnv x\n",
        "Compression maybe\n",
        "AddressFamily ipx\n",
        "ConnectTimeout 5x\n",
        "RequestTTY maybe\n",
        "IdentityFile\n",
    ],
)
def test_ssh_says_the_same_of_awkward_files(ssh: str, folder: Path, text: str) -> None:
    path = folder / "awkward"
    path.write_text(text)
    expected = theirs(ssh, path, "web1")
    if expected is not None:
        check(ssh, path, "web1")
        return
    with pytest.raises(SSHConfigError) as caught:
        values.settings(resolve(files.load(path), "web1", shell.succeeds))
    assert caught.value.path == str(path)
    assert caught.value.line == 1


def test_tokens_are_what_ssh_says(ssh: str, folder: Path) -> None:
    """What they stand for is seen where ssh gives them to a command."""
    path, seen = folder / "config", folder / "seen"
    path.write_text(
        "Host web1\nHostName %h.example\nUser other\nPort 2222\nHostKeyAlias al\n"
        f'Match exec "echo %C %d %h %i %k %L %l %n %p %r %u %% ${{PSSH_FOLDER}} >{seen}"\n'
    )
    assert theirs(ssh, path, "web1") is not None
    commands: list[str] = []

    def run(command: str) -> bool:
        commands.append(command)
        return True

    resolve(files.load(path), "web1", run)

    assert commands == [f"echo {seen.read_text().strip()} >{seen}"]


def test_values_with_tokens(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/a shell")
    monkeypatch.setenv("AGENT", "/the agent")
    path = folder / "config"
    path.write_text(
        "HostName web1.example\nPort 2222\nUser me\n"
        "IdentityFile ~/.ssh/%r@%h:%p\nCertificateFile ${PSSH_FOLDER}/%n%%\n"
        'ProxyCommand nc -X "%%" %h %p\nIdentityAgent $AGENT\nForwardAgent $AGENT\n'
    )
    found = values.settings(resolve(files.load(path), "web1", shell.succeeds))
    assert found.identity_files == (f"{HOME}/.ssh/me@web1.example:2222",)
    assert found.certificate_files == ("/from/variable/web1%",)
    assert found.proxy_command == """'/bin/a shell' -c 'exec nc -X "%%" web1.example 2222'"""
    assert found.identity_agent == found.forward_ssh_agent == "/the agent"

    path.write_text("Host web1\nProxyJump %r@gate.%n:%p\nHost web2\nIdentityFile /%q\n")
    configuration = files.load(path)
    jumping = resolve(configuration, "web1", shell.succeeds, user="them", port=5)
    assert values.settings(jumping).proxy_jump == "them@gate.web1:5"
    for text in ("IdentityFile /%q", "IdentityAgent $NOT_SET", "CertificateFile ${NOT_SET}/a"):
        path.write_text(f"# first\n{text}\n")
        with pytest.raises(SSHConfigError, match=r"(%q|NOT_SET).*config line 2") as caught:
            values.settings(resolve(files.load(path), "web1", shell.succeeds))
        assert caught.value.line == 2


def test_what_is_given_takes_part(folder: Path) -> None:
    path = folder / "config"
    path.write_text('Match user boss\nPort 23\nMatch exec "test %r%p = other24"\nCompression yes\n')
    configuration = files.load(path)
    assert resolve(configuration, "web1", shell.succeeds, user="boss").port == "23"
    given = resolve(configuration, "web1", shell.succeeds, user="other", port=24)
    assert values.settings(given).compress is True


def test_what_is_refused(folder: Path) -> None:
    path = folder / "config"
    refused: dict[str, str] = {
        "CanonicalizeHostname yes": "ask name servers for host web1",
        "Match localnetwork 10.0.0.0/8": "localnetwork of Match is not known",
        "Match user": "user of Match has no argument",
        "No such thing": "No is no option of OpenSSH's client",
        'Match host "web1': "a quote is not closed",
        f"Include {path}": "include each other too deeply",
    }
    for text, reason in refused.items():
        path.write_text(f"{text}\n")
        with pytest.raises(SSHConfigError, match=reason) as caught:
            resolve(files.load(path), "web1", shell.succeeds)
        assert str(path) in str(caught.value)
    with pytest.raises(SSHConfigError, match="There is no file /no/such/file"):
        files.load("/no/such/file")


def test_the_user_s_file_comes_before_the_system_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(files, "SYSTEM_FILE", str(tmp_path / "etc" / "ssh_config"))
    assert files.load().files == ()
    for name in (".ssh", "etc"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "more").write_text(f"IdentityFile /{name}\n")
    users = tmp_path / ".ssh" / "config"
    users.write_text("Include more\nPort 23\n")
    (tmp_path / "etc" / "ssh_config").write_text("Include more\nPort 24\nUser other\n")

    found = values.settings(resolve(files.load(), "web1", shell.succeeds))

    assert (found.port, found.user, found.identity_files) == (23, "other", ("/.ssh", "/etc"))
    users.chmod(0o620)
    with pytest.raises(SSHConfigError, match="written by somebody else"):
        files.load()


def test_read_openssh_config(keys: dict[str, Path], folder: Path) -> None:
    path = folder / "config"
    path.write_text(
        "Host web1\nHostName web1.example\nUser me\nPort 2222\nIdentityFile /no/such/key\n"
        f"IdentityFile {path}\nIdentityFile {keys['ed25519']}\nIdentityFile {keys['rsa']}\n"
    )
    key = keys["ed25519"].read_bytes()
    assert read_openssh_config("web1", str(path)) == ("web1.example", "me", 2222, key)
    assert read_openssh_config("web2", config_file=path) == ("web2", None, 22, None)


def test_commands_of_match_exec(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run: dict[str, Any] = {"true": True, "exit 3": False, "exec false": False, "read x": False}
    assert {command: shell.succeeds(command) for command in run} == run
    assert shell.succeeds("echo printed; echo said >&2; exit 0")
    assert capfd.readouterr() == ("", "said\n")


def test_what_is_acted_on_is_documented() -> None:
    page = Path(__file__).parent.parent / "doc" / "ssh_config.rst"
    text = page.read_text(encoding="utf-8")
    table = text[text.index(".. options begin") : text.index(".. options end")]
    options = set(re.findall(r"``([A-Z]\w+)``", table))
    others = {"hostname", "identityfile", "certificatefile"}
    known_hosts = {"userknownhostsfile", "globalknownhostsfile"}
    assert {name.lower() for name in options} == values._SETTINGS.keys() | others | known_hosts
    settings = {setting for setting, _ in values._SETTINGS.values()}
    settings |= {"hostname", "identity_files", "certificate_files", "known_hosts"}
    assert set(re.findall(r"``([a-z_]+)``", table)) == settings
