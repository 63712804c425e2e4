"""The documentation is true: its examples run as they stand, and what it names exists."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import cast

import docutils.core
import docutils.utils
import pytest

import pssh.exceptions
from pssh.clients import ParallelSSHClient
from pssh.config import HostConfig
from pssh.exceptions import InvalidAPIUseError, PSSHError
from tests.servers.account import Account
from tests.servers.keys import create_key
from tests.servers.openssh import OpenSSHServer

CHECKOUT = Path(__file__).resolve().parent.parent
README = CHECKOUT / "README.rst"
DOCUMENTS = [README, *sorted((CHECKOUT / "doc").glob("*.rst"))]
SUDO_PASSWORD = "of the example"

FAKE_SUDO = f"""\
#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        -S) shift ;;
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
    """A reader's machine: a home with keys in it, and a server that knows them."""

    server: OpenSSHServer
    environment: dict[str, str]

    def run(self, code: str, folder: Path) -> str:
        """Run a script in a folder of its own; what it prints and logs, together."""
        script = folder / "example.py"
        script.write_text(code, encoding="utf-8")
        runner = CHECKOUT / "tests" / "run_example.py"
        done = subprocess.run(
            [sys.executable, "-W", "error", str(runner), str(self.server.port), script.name],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=60,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, account: Account) -> Iterator[Reader]:
    home = tmp_path_factory.mktemp("reader")
    ssh = home / ".ssh"
    ssh.mkdir(mode=0o700)
    keys = [create_key(ssh / "id_ed25519"), create_key(ssh / "deploy_key")]
    options = {
        "SetEnv": f"PATH={folder_with_sudo(account)}:/usr/bin:/bin",
        "AcceptEnv": "LANG LC_*",
    }
    folder = tmp_path_factory.mktemp("server")
    with OpenSSHServer(folder, account=account, options=options, authorized_keys=keys) as server:
        (ssh / "known_hosts").write_text(server.known_hosts_text(server.port))
        environment = {
            **os.environ,
            "HOME": str(home),
            "LOGNAME": account.name,
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONIOENCODING": "utf-8",
            "SSH_PASSWORD": account.password or "of no use, because a key is tried first",
            "SUDO_PASSWORD": SUDO_PASSWORD,
        }
        yield Reader(server, environment)


def folder_with_sudo(account: Account) -> Path:
    """A folder with a `sudo` that wants its own password and changes no user."""
    folder = account.folder / "sudo"
    folder.mkdir()
    sudo = folder / "sudo"
    sudo.write_text(FAKE_SUDO)
    account.give(sudo, 0o755)
    return account.give(folder, 0o755)


@pytest.fixture(scope="module")
def printed(
    request: pytest.FixtureRequest, reader: Reader, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[str]]]:
    """What each wanted example prints. Most of their time is waiting, so two run at a time."""
    wanted = [
        cast(Example, item.callspec.params["example"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_example_runs_as_it_stands
    ]
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield {
            str(example): pool.submit(reader.run, example.code, tmp_path_factory.mktemp("example"))
            for example in wanted
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_example_runs_as_it_stands(example: Example, printed: dict[str, Future[str]]) -> None:
    output = printed[str(example)].result()
    if example.output is not None:
        assert output == example.output


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
NOT_YET = between(README.read_text(encoding="utf-8"), "not yet")
FIELDS = {field.name: field for field in dataclasses.fields(HostConfig)}


def documented_settings() -> dict[str, str]:
    """Each setting in the table, and the default that stands there."""
    return {name: default for names, default, _ in SETTINGS for name in literals(names)}


def settings_not_yet() -> set[str]:
    return set(literals(NOT_YET)) & FIELDS.keys()


def test_every_setting_is_documented_once() -> None:
    in_table = documented_settings().keys() & FIELDS.keys()
    assert in_table | settings_not_yet() == FIELDS.keys()
    assert in_table & settings_not_yet() == set()


def test_every_documented_setting_exists() -> None:
    arguments = {"pkey", "_auth_thread_pool", "pool_size", "host_config", "HostConfig"}
    assert documented_settings().keys() - FIELDS.keys() == arguments


@pytest.mark.parametrize("name", sorted(documented_settings().keys() & FIELDS.keys()))
def test_documented_default_is_the_default(name: str) -> None:
    written = documented_settings()[name].strip("`")
    default = FIELDS[name].metadata["default"]
    in_words = {
        None: {"none", "login user", "chosen by the library"},
        1024 * 1024: {"1 MiB"},
        FIELDS["known_hosts"].metadata["default"]: {"the user's and the system's files"},
    }
    assert written in in_words.get(default, {str(default), f'"{default}"'})


def test_documented_defaults_of_the_parallel_client() -> None:
    client = ParallelSSHClient([])
    assert str(client.pool_size) == documented_settings()["pool_size"]
    assert client.host_config is None


@pytest.mark.parametrize("name", sorted(settings_not_yet()))
def test_what_is_not_there_yet_is_refused(name: str) -> None:
    asked_for = {"proxy_port": 22}.get(name, True if name in flags() else "something")
    with pytest.raises(InvalidAPIUseError, match=name):
        ParallelSSHClient(["localhost"], **{name: asked_for})


def flags() -> set[str]:
    return {name for name, field in FIELDS.items() if field.metadata["default"] is False}


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
    not_yet = {name for name in after if name.startswith(("SFTP", "SCP", "Proxy", "Shell"))}
    assert table | not_yet == exceptions().keys()


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


def test_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", CHECKOUT / "doc", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
