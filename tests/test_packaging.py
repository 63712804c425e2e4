"""What the distribution contains, and what importing it does to a process: nothing."""

from __future__ import annotations

import email.message
import email.parser
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from pssh import __version__

CHECKOUT = Path(__file__).resolve().parent.parent
# What a build reads; not the whole checkout, which may hold large environments.
BUILD_INPUTS = (
    "Changelog.rst",
    "LICENSE",
    "MANIFEST.in",
    "README.rst",
    "pyproject.toml",
    "requirements.txt",
    "setup.py",
)

#: What builds the distribution.
BACKEND = "setuptools.build_meta"

#: All that need the wheel, so that one of several processes builds it, not two. One takes long.
begun_together = pytest.mark.long


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command, and fail with everything it said unless it succeeds."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def build_wheel(source: Path, into: Path) -> Path:
    """Build a wheel as pip would (PEP 517), without the network, with what is installed here."""
    assert f'build-backend = "{BACKEND}"' in (source / "pyproject.toml").read_text()
    program = f"from {BACKEND} import build_wheel; build_wheel({str(into)!r})"
    run(sys.executable, "-c", program, cwd=source)
    (wheel,) = into.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build reads, so that building leaves nothing in the checkout."""
    folder = tmp_path_factory.mktemp("source")
    for name in BUILD_INPUTS:
        shutil.copy(CHECKOUT / name, folder)
    for name in ("ci", "doc", "pssh", "tests"):
        unwanted = shutil.ignore_patterns("__pycache__", "_build")
        shutil.copytree(CHECKOUT / name, folder / name, ignore=unwanted)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
        return email.parser.Parser().parsestr(archive.read(name).decode())


def files_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@begun_together
def test_wheel_holds_the_package_and_its_type_marker(wheel: Path) -> None:
    files = files_of(wheel)
    modules = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "pssh").rglob("*.py")}
    assert modules | {"pssh/py.typed"} == {name for name in files if name.startswith("pssh/")}
    assert {name.partition("/")[0] for name in files} == {
        "pssh",
        f"parallel_ssh-{__version__}.dist-info",
    }


@begun_together
def test_metadata_names_the_distribution(metadata: email.message.Message) -> None:
    assert metadata["Name"] == "parallel-ssh"
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "LGPL-2.1-only"
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["Description-Content-Type"] == "text/x-rst"


@begun_together
def test_metadata_requires_gevent_and_the_bindings_only(metadata: email.message.Message) -> None:
    requirements = sorted(metadata.get_all("Requires-Dist", []))
    assert [wanted for wanted in requirements if "extra ==" not in wanted] == [
        "gevent>=23.9",
        "ssh-python>=1.2.0",
        "ssh2-python>=1.2.0",
    ]


@begun_together
def test_metadata_has_the_extras(metadata: email.message.Message) -> None:
    assert sorted(metadata.get_all("Provides-Extra", [])) == ["agent", "progress"]
    wanted = [each for each in metadata.get_all("Requires-Dist", []) if "extra" in each]
    needs = {(re.split(r"\W", each)[0], each.partition("; ")[2]) for each in wanted}
    assert needs == {
        ("bcrypt", 'extra == "agent"'),
        ("cryptography", 'extra == "agent"'),
        ("rich", 'extra == "progress"'),
    }


@begun_together
def test_source_distribution_builds_the_same_wheel(
    source: Path, wheel: Path, tmp_path: Path
) -> None:
    unpacked, rebuilt = tmp_path / "unpacked", tmp_path / "rebuilt"
    rebuilt.mkdir()
    said = run(sys.executable, "setup.py", "-q", "sdist", "-d", tmp_path, cwd=source)
    assert "deprecat" not in said.lower()
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        # The first releases of Python 3.10 and 3.11 have no filters yet.
        if data_filter := getattr(tarfile, "data_filter", None):
            tar.extraction_filter = data_filter
        tar.extractall(unpacked)
    (folder,) = unpacked.iterdir()
    assert files_of(build_wheel(folder, rebuilt)) == files_of(wheel)


IMPORT_CHANGES_NOTHING = """
import atexit, signal, sys, threading

registered = []
register = atexit.register
def record(function, *args, **kwargs):
    # The standard library may (logging does); a package on top of it may not.
    module = sys._getframe(1).f_globals["__name__"]
    if module.partition(".")[0] not in sys.stdlib_module_names:
        registered.append(module)
    return register(function, *args, **kwargs)
atexit.register = record

def state():
    signals = [signal.getsignal(number) for number in signal.valid_signals()]
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    return threading.active_count(), sys.getswitchinterval(), signals, hooks

before = state()
import {module}
assert state() == before, (before, state())
assert registered == [], registered

patched = sys.modules.get("gevent.monkey")
assert patched is None or not patched.saved, "something was monkey patched"
if "gevent" in sys.modules:
    from gevent._hub_local import get_hub_if_exists
    assert get_hub_if_exists() is None, "there is a hub"
"""


@pytest.mark.parametrize(
    "module",
    [
        "pssh",
        "pssh.config",
        "pssh.output",
        "pssh.utils",
        "pssh.clients",
        "pssh.clients.native",
        "pssh.clients.ssh",
    ],
)
def test_importing_changes_nothing_in_the_process(module: str) -> None:
    code = IMPORT_CHANGES_NOTHING.format(module=module)
    run(sys.executable, "-W", "error", "-c", code, cwd=CHECKOUT)


def test_importing_the_package_itself_does_not_load_gevent() -> None:
    run(sys.executable, "-c", "import pssh, sys; assert 'gevent' not in sys.modules", cwd=CHECKOUT)
