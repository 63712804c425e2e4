"""The account that the servers let in."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import itertools
import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from tests.servers.process import find_program
from tests.servers.process_tree import all_processes, is_running, send_signal, wait_until

NAME_PREFIX = "pssh-test"
SHELL = "/bin/sh"

#: What the programs say that find the account files locked, or somebody who has been killed and
#: has not quite gone.
TO_BE_TRIED_AGAIN = r"cannot lock|lock busy|currently used by process"

_numbers = itertools.count(1)


class AccountChangeError(RuntimeError):
    """An account could not be made or removed."""


class Account:
    """A login account; a context manager.

    For root it is an unprivileged one with a plain ``/bin/sh`` and a random password, made for us
    and removed at the end. For anybody else it is that user, whose password and shell we don't
    know and whose home folder we don't touch.

    Attributes: ``name``; ``password`` (``None`` when unknown); ``uid``, ``gid``; ``home``;
    ``folder``, to which both we and the account can write; ``temporary``, whether it was made for
    us.
    """

    def __init__(self) -> None:
        self._owner = os.getpid()
        self.password: str | None = None
        self.temporary = os.geteuid() == 0
        if self.temporary:
            remove_stale_accounts()
            self.password = secrets.token_hex(12)
            self.name = f"{NAME_PREFIX}-{os.getpid()}-{next(_numbers)}"
            atexit.register(self.remove)
            _create(self.name, self.password)
        else:
            self.name = pwd.getpwuid(os.geteuid()).pw_name
        entry = pwd.getpwnam(self.name)
        self.uid, self.gid, self.home = entry.pw_uid, entry.pw_gid, Path(entry.pw_dir)
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if self.temporary:
            self.folder = self.home
        else:
            self._scratch = tempfile.TemporaryDirectory(prefix=f"{NAME_PREFIX}-")
            self.folder = Path(self._scratch.name)

    def give(self, path: Path, mode: int) -> Path:
        """Make the account the owner of a file or folder and set its permissions."""
        if self.temporary:
            os.chown(path, self.uid, self.gid)
        path.chmod(mode)
        return path

    def remove(self) -> None:
        """Remove the account, its processes and its home folder, if it was made for us."""
        if os.getpid() != self._owner:
            return  # a forked copy of us: the account belongs to the original
        if self.temporary:
            _remove(self.name)
        elif self._scratch is not None:
            self._scratch.cleanup()
        atexit.unregister(self.remove)

    def __enter__(self) -> Account:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()


def remove_stale_accounts() -> None:
    """Remove accounts left behind by test processes that were killed.

    Several test processes may find the same ones at the same time: each is removed once.
    """
    for entry in pwd.getpwall():
        match = re.fullmatch(rf"{NAME_PREFIX}-(\d+)-\d+", entry.pw_name)
        if match and not is_running(int(match[1])):
            _remove(entry.pw_name)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep other test processes from changing accounts meanwhile.

    Without that one could find the number of a stale account, another remove that account and get
    the number for a new one, and the first then kill the processes of the new one.
    """
    folder = os.open(_system_homes(), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _system_homes() -> Path:
    """Where the system keeps home folders, to which only root can write."""
    for folder in (Path("/home"), Path("/var/lib")):
        if folder.is_dir() and not folder.stat().st_mode & (stat.S_IWOTH | stat.S_IWGRP):
            return folder
    return Path(tempfile.gettempdir())


def _homes() -> Path:
    """A folder for the home folder, one that a strict sshd trusts: only root can write to it.

    It is among the temporary files, which may be kept in memory, unless the account could not
    get there.
    """
    folder = Path(tempfile.gettempdir()).resolve() / f"{NAME_PREFIX}-homes"
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o755)
    found = folder.lstat()
    ours = (
        stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and stat.S_IMODE(found.st_mode) == 0o755
    )
    if ours and all(parent.stat().st_mode & stat.S_IXOTH for parent in folder.parents):
        return folder
    return _system_homes()


def _create(name: str, password: str) -> None:
    with _one_at_a_time():
        home = _homes() / name
        _change_accounts(
            find_program("useradd", "passwd"),
            *("--no-create-home", "--home-dir", str(home), "--shell", SHELL),
            *("--user-group", "--no-log-init", name),
        )
        # Nobody can guess it, and to check it costs a server less.
        quick = ("--crypt-method", "SHA256", "--sha-rounds", "1000")
        _change_accounts(find_program("chpasswd", "passwd"), *quick, text=f"{name}:{password}\n")
        entry = pwd.getpwnam(name)
        home.mkdir(mode=0o755)
        os.chown(home, entry.pw_uid, entry.pw_gid)


def _remove(name: str) -> None:
    with _one_at_a_time():
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return
        _kill_processes_of(entry.pw_uid)
        try:
            _change_accounts(find_program("userdel", "passwd"), name)
        except AccountChangeError:
            # Somebody who doesn't take our lock may have removed it, which is as good.
            if _exists(name):
                raise
        if Path(entry.pw_dir).name == name:
            shutil.rmtree(entry.pw_dir, ignore_errors=True)
            if Path(entry.pw_dir).parent.name == f"{NAME_PREFIX}-homes":
                with contextlib.suppress(OSError):  # others' are still there
                    os.rmdir(Path(entry.pw_dir).parent)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _kill_processes_of(uid: int) -> None:
    def none_left() -> bool:
        running = [
            p.pid for p in all_processes() if uid in _users_of(p.pid) and p.state not in "ZX"
        ]
        for pid in running:
            send_signal(pid, signal.SIGKILL)
        return not running

    wait_until(none_left, f"the end of the processes of user {uid}")


def _users_of(pid: int) -> list[int]:
    """The user that started a process, and those whose rights it has: sudo is run by the account.

    The folder of a program that does not want to be looked at belongs to root.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    found = re.search(r"^Uid:(.*)$", status, re.MULTILINE)
    return [int(uid) for uid in found[1].split()] if found else []


def _change_accounts(*command: str, text: str = "") -> None:
    """Run a program that needs the locks of the account files, until nothing is in its way.

    :param text: its input.
    :raises AccountChangeError: when it fails for another reason.
    """

    def done() -> bool:
        result = subprocess.run(command, input=text, capture_output=True, text=True)
        if result.returncode and not re.search(TO_BE_TRIED_AGAIN, result.stderr):
            raise AccountChangeError(f"{command[0]} failed: {result.stderr.strip()}")
        return not result.returncode

    wait_until(done, "the account files, or the account, to be free", timeout=60)
