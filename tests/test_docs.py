"""The documentation is true: its examples run as they stand, and what it names exists."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import select
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast
from unittest import mock

import docutils.core
import docutils.utils
import pytest

import pssh.exceptions
from pssh import certificate
from pssh.certificate import Certificate
from pssh.clients import ParallelSSHClient, native, ssh
from pssh.config import HostConfig
from pssh.exceptions import PSSHError
from tests.run_example import Job
from tests.servers.account import Account
from tests.servers.certificates import CertificateAuthority
from tests.servers.kdc import KDC
from tests.servers.keys import create_key
from tests.servers.openssh import OpenSSHServer
from tests.servers.process_tree import kill_trees

CHECKOUT = Path(__file__).resolve().parent.parent
README = CHECKOUT / "README.rst"
DOCUMENTS = [README, *sorted((CHECKOUT / "doc").glob("*.rst"))]
SUDO_PASSWORD = "of the example"

FAKE_SUDO = f"""\
#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        -S) shift ;;
        -u) shift 2 ;;
        -p) printf %s "$2" >&2; shift 2 ;;
        *) break ;;
    esac
done
read -r password
[ "$password" = "{SUDO_PASSWORD}" ] || {{ echo "sudo: wrong password" >&2; exit 1; }}
exec "$@"
"""


@dataclasses.dataclass
class Example:
    """A Python script of a document, and what the document says that it prints."""

    document: str
    line: int
    code: str
    output: str | None

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def reader(self) -> str:
        """The fixture for whom it is written."""
        for setting, fixture in READERS.items():
            if f"{setting}=" in self.code:
                return fixture
        return "reader"


#: A setting that an example uses -> the reader who has nothing else to log in with.
READERS = {"cert_file": "certificate_reader", "gssapi_auth": "kerberos_reader"}


def blocks(text: str) -> Iterator[tuple[int, str, str]]:
    """Every code block as its first line's number, its language and its content."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        found = re.match(r"( *)\.\. code-block:: (\w+)$", line)
        if found is None:
            continue
        content = []
        for inner in lines[index + 1 :]:
            if inner.strip() and not inner.startswith(found[1] + " "):
                break
            content.append(inner)
        yield index + 1, found[2], textwrap.dedent("\n".join(content)).strip("\n") + "\n"


def examples_in(document: str, text: str) -> list[Example]:
    found: list[Example] = []
    lines = text.splitlines()
    for number, language, content in blocks(text):
        if language == "python":
            found.append(Example(document, number, content, None))
        elif language == "text":
            # What is printed stands below the script, after a line that says so.
            assert lines[number - 3] == ":Output:", f"{document}:{number} belongs to no example"
            found[-1].output = content
    return found


EXAMPLES = [
    example
    for path in DOCUMENTS
    for example in examples_in(str(path.relative_to(CHECKOUT)), path.read_text(encoding="utf-8"))
]


def test_examples_are_found() -> None:
    text = textwrap.dedent("""\
        Words.

        .. code-block:: python

           for line in []:

               print(line)

        :Output:

           .. code-block:: text

              a
               b

        More words.
        """)
    (example,) = examples_in("page", text)
    assert example.code == "for line in []:\n\n    print(line)\n"
    assert example.output == "a\n b\n"
    assert sum(example.document == "README.rst" for example in EXAMPLES) >= 8
    assert len(EXAMPLES) >= 30


@dataclasses.dataclass
class Reader:
    """A reader's machine: a home with what lets him into a server, and that server."""

    server: OpenSSHServer
    environment: dict[str, str]

    def run(self, code: str, folder: Path) -> str:
        """Run a script in a folder of its own; what it prints and logs, together."""
        script = folder / "example.py"
        script.write_text(code, encoding="utf-8")
        return interpreter().run(
            Job(
                script=script.name,
                folder=str(folder),
                port=self.server.port,
                environment=self.environment,
                output=str(folder / "output"),
            )
        )


class Interpreter:
    """Runs scripts in a process each, see :mod:`tests.run_example`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.run_example"],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )

    def run(self, job: Job) -> str:
        """Run a script; what it prints and logs, together."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(job._asdict()), file=self._process.stdin, flush=True)
        ended, _, _ = select.select([self._process.stdout], [], [], 60)
        status = self._process.stdout.readline() if ended else "It has not ended."
        printed = Path(job.output).read_text(encoding="utf-8")
        if not ended:
            self.end()
            interpreter.cache_clear()
        assert status == "0\n", printed
        return printed

    def end(self) -> None:
        """End it, and a script that still runs."""
        kill_trees([self._process.pid])
        self._process.communicate()


@cache
def interpreter() -> Interpreter:
    """The one for all readers."""
    return Interpreter()


@pytest.fixture(scope="module", autouse=True)
def _end_of_the_interpreter() -> Iterator[None]:
    yield
    if interpreter.cache_info().currsize:
        interpreter().end()
        interpreter.cache_clear()


def new_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder in which there is nothing but an empty ``.ssh``."""
    home = tmp_path_factory.mktemp("reader")
    (home / ".ssh").mkdir(mode=0o700)
    return home


def reader_of(home: Path, account: Account, server: OpenSSHServer, **environment: str) -> Reader:
    """Somebody whose home this is, and who knows the server."""
    (home / ".ssh" / "known_hosts").write_text(server.known_hosts_text(server.port))
    return Reader(
        server,
        {
            **os.environ,
            "HOME": str(home),
            "LOGNAME": account.name,
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONIOENCODING": "utf-8",
            "SSH_PASSWORD": account.password or "of no use, because a key is tried first",
            "SUDO_PASSWORD": SUDO_PASSWORD,
            **environment,
        },
    )


@pytest.fixture(scope="module")
def reader(
    tmp_path_factory: pytest.TempPathFactory, account: Account, keys: dict[str, Path]
) -> Iterator[Reader]:
    home = new_home(tmp_path_factory)
    own = [create_key(home / ".ssh" / name) for name in ("id_ed25519", "deploy_key")]
    options = {
        "SetEnv": f"PATH={folder_with_sudo(account)}:/usr/bin:/bin",
        "AcceptEnv": "LANG LC_*",
    }
    folder = tmp_path_factory.mktemp("server")
    with OpenSSHServer(
        folder,
        account=account,
        options=options,
        host_keys=("ed25519", "ecdsa", keys["host_rsa"]),
        authorized_keys=own,
    ) as server:
        yield reader_of(home, account, server)


@pytest.fixture(scope="module")
def certificate_reader(
    tmp_path_factory: pytest.TempPathFactory,
    account: Account,
    user_authority: CertificateAuthority,
    certificate_sshd: OpenSSHServer,
) -> Reader:
    home = new_home(tmp_path_factory)
    key = create_key(home / ".ssh" / "fleet_key")
    signed = user_authority.certify(key, principals=[account.name])
    shutil.copy(signed, home / ".ssh" / "fleet_key-cert.pub")
    return reader_of(home, account, certificate_sshd)


@pytest.fixture(scope="module")
def kerberos_reader(
    tmp_path_factory: pytest.TempPathFactory,
    account: Account,
    kdc: KDC,
    gssapi_sshd: OpenSSHServer,
) -> Reader:
    home = new_home(tmp_path_factory)
    ticket = kdc.kinit(home / "ticket", forwardable=True)
    return reader_of(home, account, gssapi_sshd, **kdc.environment, KRB5CCNAME=ticket)


def folder_with_sudo(account: Account) -> Path:
    """A folder with a `sudo` that wants its own password and changes no user."""
    folder = account.folder / "sudo"
    folder.mkdir(exist_ok=True)
    sudo = folder / "sudo"
    sudo.write_text(FAKE_SUDO)
    account.give(sudo, 0o755)
    return account.give(folder, 0o755)


def expect(output: str, example: Example) -> None:
    if example.output is not None:
        assert output == example.output


@pytest.mark.parametrize("example", [each for each in EXAMPLES if each.reader == "reader"], ids=str)
def test_example_runs_as_it_stands(example: Example, reader: Reader, tmp_path: Path) -> None:
    expect(reader.run(example.code, tmp_path), example)


@pytest.mark.parametrize("example", [each for each in EXAMPLES if each.reader != "reader"], ids=str)
def test_example_with_a_server_of_its_own(
    example: Example, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    reader = cast(Reader, request.getfixturevalue(example.reader))
    expect(reader.run(example.code, tmp_path), example)


def between(text: str, name: str) -> str:
    """The part of a document between the comments ``name begins`` and ``name ends``."""
    found = re.search(
        rf"^\.\. {name} begins$(.*?)^\.\. {name} ends$", text, re.DOTALL | re.MULTILINE
    )
    assert found is not None, f"there is no {name}"
    return found[1]


def rows(table: str) -> list[list[str]]:
    """The cells of every list-table, header rows left out, each cell in one line."""
    found = []
    for row in re.split(r"^   \* - ", table, flags=re.MULTILINE)[1:]:
        row = row.partition("\n\n")[0]
        cells = [
            " ".join(cell.split()) for cell in re.split(r"^     -(?: |$)", row, flags=re.MULTILINE)
        ]
        found.append(cells)
    return [cells for cells in found if cells[0].startswith("``")]


def literals(text: str) -> list[str]:
    return re.findall(r"``([^`]+)``", text)


SETTINGS = rows(between(README.read_text(encoding="utf-8"), "settings table"))
FIELDS = {field.name: field for field in dataclasses.fields(HostConfig)}


def documented_settings() -> dict[str, str]:
    """Each setting in the table, and the default that stands there."""
    return {name: default for names, default, _ in SETTINGS for name in literals(names)}


def test_every_setting_is_documented_once() -> None:
    assert documented_settings().keys() >= FIELDS.keys()
    written = [name for names, *_ in SETTINGS for name in literals(names)]
    assert len(written) == len(set(written))


def test_every_documented_setting_exists() -> None:
    arguments = {"pkey", "_auth_thread_pool", "pool_size", "host_config", "HostConfig"}
    assert documented_settings().keys() - FIELDS.keys() == arguments


@pytest.mark.parametrize("name", sorted(documented_settings().keys() & FIELDS.keys()))
def test_documented_default_is_the_default(name: str) -> None:
    written = documented_settings()[name].strip("`")
    default = FIELDS[name].metadata["default"]
    in_words = {
        None: {
            *("none", "all", "login user", "chosen by the library", "the host"),
            *("IDENTITIES", "SSH_AUTH_SOCK", "timeout"),
        },
        1024 * 1024: {"1 MiB"},
        FIELDS["known_hosts"].metadata["default"]: {"the user's and the system's files"},
    }
    assert written in in_words.get(default, {str(default), f'"{default}"'})


def test_documented_defaults_of_the_parallel_client() -> None:
    client = ParallelSSHClient([])
    assert str(client.pool_size) == documented_settings()["pool_size"]
    assert client.host_config is None


@pytest.mark.parametrize("name", sorted(documented_settings().keys() & FIELDS.keys()))
def test_what_only_the_libssh_client_can_do(name: str) -> None:
    (meaning,) = (meaning for names, _, meaning in SETTINGS if name in literals(names))
    only_libssh = "``pssh.clients.ssh`` only" in meaning
    assert only_libssh == (name in native.SSHClient._UNSUPPORTED)
    assert name not in ssh.SSHClient._UNSUPPORTED


def test_what_is_said_of_a_refused_certificate() -> None:
    page = (CHECKOUT / "doc" / "authentication.rst").read_text(encoding="utf-8")
    terms = [found[1] for found in re.finditer(r"^``(.+)``$", between(page, "refusals"), re.M)]
    for_ever = {"valid_after": 0, "valid_before": 2**64 - 1}
    ways: list[dict[str, Any]] = [
        {"principals": [], **for_ever, "valid_before": at("2026-01-31 12:00:00")},
        {"principals": [], **for_ever, "valid_after": at("2026-02-01 12:00:00")},
        {"principals": ["alice", "bob"], **for_ever},
    ]
    now = mock.Mock(wraps=time, time=lambda: at("2026-01-31 18:00:00"))
    with mock.patch.object(certificate, "time", now):
        assert terms == [
            Certificate(name="", line=b"", public_key=b"", key_id="", **way).explain_refusal()
            for way in ways
        ]


def at(text: str) -> int:
    """The second at which a clock in this time zone shows this."""
    return int(time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S")))


def exceptions() -> dict[str, type[PSSHError]]:
    """Every error class of ours by its own name, aliases left out."""
    return {
        name: value
        for name, value in vars(pssh.exceptions).items()
        if inspect.isclass(value) and issubclass(value, PSSHError) and value.__name__ == name
    }


ERRORS_PAGE = (CHECKOUT / "doc" / "errors.rst").read_text(encoding="utf-8")


def test_every_error_is_documented() -> None:
    table = {literals(name)[0] for name, _, _ in rows(between(ERRORS_PAGE, "error table"))}
    after = literals(ERRORS_PAGE.partition(".. error table ends")[2])
    not_yet = {name for name in after if name.startswith("Proxy")}
    assert table | not_yet == exceptions().keys()
    assert table & not_yet == set()


@pytest.mark.parametrize(
    ("name", "fields"),
    [(literals(name)[0], literals(fields)) for name, _, fields in rows(ERRORS_PAGE)],
)
def test_documented_error_has_its_fields(name: str, fields: list[str]) -> None:
    error = exceptions()[name]("text", host="example", port=22)
    assert error.host == "example"
    assert error.port == 22
    assert [field for field in fields if not hasattr(error, field)] == []


def test_readme_is_plain_restructured_text() -> None:
    """Package indexes show the README with docutils alone, and not at all when it has an error."""
    docutils.core.publish_string(
        README.read_text(encoding="utf-8"),
        writer="html5",
        settings_overrides={"halt_level": 2, "report_level": 2, "raw_enabled": False},
    )


@pytest.mark.long
def test_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    # All that it makes lives to the end: looking for what does not takes a fifth of the time.
    program = "import gc, sys; gc.disable(); from sphinx.cmd.build import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "-q", "-W", "--keep-going", CHECKOUT / "doc", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
