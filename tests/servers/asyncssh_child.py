"""What the process of :class:`tests.servers.asyncssh_server.AsyncSSHServer` runs.

Special commands:

``__no_exit_status__``
    prints ``some output`` and closes the channel with no exit status.
``__exit_signal__ NAME``
    prints ``some output`` and reports that signal ``NAME`` ended the command.
``__exit_status__ NUMBER``
    prints ``some output``, reports the status, as RFC 4254 has it from 0 to 4294967295, and closes.
``__exit_status_and_reset__ NUMBER``
    the same, but in place of an end of the output there is one of the connection.
``__ask_agent__``
    asks the client's agent for its keys, whether or not the client has allowed that, and prints
    how many there are, or ``refused``.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

import asyncssh

BLOCK_BYTES = 64 * 1024
REKEY_BYTES = 256 * 1024

CommandProcess = asyncssh.SSHServerProcess[bytes]


class AuthenticatingServer(asyncssh.SSHServer):
    """Lets one user in by key, password, or answers to questions."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def auth_completed(self) -> None:
        # asyncssh itself names nothing but what is a method.
        named = [name.encode() for name in self._options.kex_name]
        self._connection._kex_algs = [*named, *self._connection._kex_algs]

    async def begin_auth(self, username: str) -> bool:
        if self._options.hang_auth:
            await forever()
        return True

    def password_auth_supported(self) -> bool:
        return self._options.password is not None

    def validate_password(self, username: str, password: str) -> bool:
        if self._options.password_expired:
            raise asyncssh.PasswordChangeRequired("It has expired.")
        return bool(username == self._options.user and password == self._options.password)

    def kbdint_auth_supported(self) -> bool:
        return bool(self._options.answer)

    def get_kbdint_challenge(
        self, username: str, lang: str, submethods: str
    ) -> tuple[str, str, str, list[tuple[str, bool]]]:
        numbers = range(1, len(self._options.answer) + 1)
        return "", "", "", [(f"Question {number}: ", False) for number in numbers]

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        return bool(username == self._options.user and list(responses) == self._options.answer)


class NeverOpeningServer(AuthenticatingServer):
    """Never answers the request to open a session channel."""

    async def _never(self) -> asyncssh.SSHServerSession[bytes]:
        await forever()
        raise AssertionError

    def session_requested(self):  # type: ignore[no-untyped-def]
        return self._never()


class FreezingServer(AuthenticatingServer):
    """Freezes as a whole at the first exec request: asyncssh has no way to answer it later."""

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        return FreezingSession()


class FreezingSession(asyncssh.SSHServerSession[bytes]):
    """A session that never comes back from an exec request."""

    def exec_requested(self, command: str) -> bool:
        while True:
            time.sleep(3600)


async def forever() -> None:
    """Never return."""
    await asyncio.Event().wait()


async def handle(process: CommandProcess) -> None:
    """Serve one exec or shell request."""
    command = process.command
    if command == "__no_exit_status__":
        process.stdout.write(b"some output\n")
        process.close()
    elif command is not None and command.startswith("__exit_signal__ "):
        process.stdout.write(b"some output\n")
        process.exit_with_signal(command.split()[1])
    elif command is not None and command.startswith("__exit_status"):
        process.stdout.write(b"some output\n")
        # Its own function takes no more than 255.
        process.channel._send_request(
            b"exit-status", asyncssh.packet.UInt32(int(command.split()[1]))
        )
        if command.startswith("__exit_status__ "):
            process.close()
        else:
            process.channel.get_connection().abort()
    elif command is not None and "__ask_agent__" in command:
        process.stdout.write(b"%s\n" % await ask_agent(process))
        process.exit(0)
    else:
        await run_command(process, ["/bin/sh", *(["-c", command] if command else [])])


class AskingSession(asyncssh.SSHUNIXSession[bytes]):
    """A channel to the client's agent on which one question is asked."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._received = b""

    def connection_made(self, chan: asyncssh.SSHUNIXChannel[bytes]) -> None:
        self._channel = chan

    def session_started(self) -> None:
        self._channel.write(b"\0\0\0\1\x0b")  # SSH_AGENTC_REQUEST_IDENTITIES

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self._received += data
        if len(self._received) >= 9 and not self.answer.done():
            self.answer.set_result(self._received)
            self._channel.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_result(b"")


async def ask_agent(process: CommandProcess) -> bytes:
    """Ask for the keys over a channel of our own, which asyncssh would not open by itself."""
    channel = process.channel.get_connection().create_agent_channel()
    session = AskingSession()
    try:
        await channel.open(lambda: session)
    except asyncssh.ChannelOpenError:
        return b"refused"
    answer = await session.answer
    return b"%d" % int.from_bytes(answer[5:9], "big") if answer else b"refused"


async def run_command(process: CommandProcess, arguments: list[str]) -> None:
    """Run a program with the channel as its standard streams."""
    child = await asyncio.create_subprocess_exec(
        *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment(process)
    )
    assert child.stdout is not None
    assert child.stderr is not None
    feeding = asyncio.create_task(feed(process, child))
    try:
        await asyncio.gather(copy(child.stdout, process.stdout), copy(child.stderr, process.stderr))
        status = await child.wait()
    finally:
        feeding.cancel()
        if child.returncode is None:
            child.kill()
    if status < 0:
        process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
    else:
        process.exit(status)


def environment(process: CommandProcess) -> dict[str, str]:
    """A plain environment with the client's requests added."""
    requested = {str(name): str(value) for name, value in process.env.items()}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "SHELL": "/bin/sh", **requested}


async def feed(process: CommandProcess, child: Process) -> None:
    """Pass the client's input and signals on to the command."""
    assert child.stdin is not None
    try:
        while True:
            try:
                data = await process.stdin.read(BLOCK_BYTES)
            except asyncssh.SignalReceived as received:
                child.send_signal(signal.Signals[f"SIG{received.signal}"])
                continue
            except asyncssh.TerminalSizeChanged:
                continue
            if not data:
                break
            child.stdin.write(data)
            await child.stdin.drain()
        child.stdin.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the command reads no further
    except asyncssh.Error:
        child.kill()  # the connection was lost


async def copy(source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
    """Pass one of the command's outputs on to the client."""
    while data := await source.read(BLOCK_BYTES):
        target.write(data)
        await target.drain()


async def serve(options: argparse.Namespace) -> None:
    """Serve until our parent closes our standard input, or dies."""
    server: type[AuthenticatingServer] = AuthenticatingServer
    if options.hang_open:
        server = NeverOpeningServer
    elif options.hang_exec:
        server = FreezingServer
    await asyncssh.listen(
        "127.0.0.1",
        options.port,
        server_factory=lambda: server(options),
        server_host_keys=options.host_key,
        authorized_client_keys=options.authorized_keys,
        # With a process factory the server's own session_requested would not be asked.
        process_factory=handle if server is AuthenticatingServer else None,
        sftp_factory=server is AuthenticatingServer,
        encoding=None,
        line_editor=False,
        login_timeout=0,
        **({"rekey_bytes": REKEY_BYTES} if options.kex_name else {}),
        backlog=1000,
    )
    print(f"port {options.port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="An asyncssh server for tests.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host-key", action="append", required=True)
    parser.add_argument("--authorized-keys", required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--password")
    parser.add_argument("--password-expired", action="store_true")
    parser.add_argument("--answer", action="append", default=[])
    parser.add_argument("--kex-name", action="append", default=[])
    parser.add_argument("--hang-auth", action="store_true")
    parser.add_argument("--hang-open", action="store_true")
    parser.add_argument("--hang-exec", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Serve as the command line says."""
    asyncio.run(serve(parse_options()))
