"""The program between an SSH server and its SFTP server, which spoils what passes.

``python sftp_between.py <plan> <sftp-server>``: the plan is a file with what
:class:`tests.servers.faulty_sftp.Fault` describes, a list that is written as in Python. It needs
the standard library alone: it is run by the account, with any interpreter that the account may use.
It starts for each SFTP session, of which the tests have hundreds: what it imports loads quickly.
"""

from __future__ import annotations

import _thread
import os
import select
import struct
import sys

TYPE_CHECKING = False  # that of `typing`, which takes long to load
if TYPE_CHECKING:
    from typing import Any

    Fault = dict[str, Any]

#: Requests that a fault can be about (draft-ietf-secsh-filexfer-02 section 3).
REQUESTS = {
    1: "INIT",
    3: "OPEN",
    4: "CLOSE",
    5: "READ",
    6: "WRITE",
    7: "LSTAT",
    8: "FSTAT",
    9: "SETSTAT",
    10: "FSETSTAT",
    11: "OPENDIR",
    12: "READDIR",
    13: "REMOVE",
    14: "MKDIR",
    16: "REALPATH",
    17: "STAT",
    18: "RENAME",
    200: "EXTENDED",
}

INIT, VERSION = 1, 2
STATUS, DATA, NAME, ATTRS = 101, 103, 104, 105

SIZE, PERMISSIONS = 0x01, 0x04


class Between:
    """Passes packets on in both directions.

    :param plan: the faults.
    :param asking: where the SFTP server is asked.
    :param answering: where it answers.
    """

    def __init__(self, plan: list[Fault], asking: int, answering: int) -> None:
        self._plan = plan
        self._asking = asking
        self._answering = answering
        self._count: dict[str, int] = {}
        #: Request id -> what is to be done to the reply.
        self._spoiled: dict[bytes, Fault] = {}
        #: Replies that are held back: how many others come first, and the packet.
        self._held: list[list[Any]] = []
        self._entries = 0
        self._writing = _thread.allocate_lock()

    def pass_requests(self) -> None:
        """Pass on what the client asks, until it asks no more."""
        while (packet := read_packet(0)) is not None:
            fault = self._fault_for(packet)
            if fault is None or self._may_pass(fault, packet):
                write_all(self._asking, framed(packet))
        os.close(self._asking)

    def pass_replies(self) -> None:
        """Pass on what the server answers, until it answers no more."""
        while (packet := read_packet(self._answering)) is not None:
            key = b"" if packet[0] == VERSION else packet[1:5]
            fault = self._spoiled.pop(key, None)
            if fault is None:
                self._say(framed(packet))
            else:
                self._spoil(fault, packet)
        for _, late in self._held:
            self._say(late)
        os.close(1)

    def _fault_for(self, packet: bytes) -> Fault | None:
        name = REQUESTS.get(packet[0], "")
        number = self._count[name] = self._count.get(name, 0) + 1
        for fault in self._plan:
            if fault["on"] == name and fault["first"] <= number <= (fault["last"] or number):
                return fault
        return None

    def _may_pass(self, fault: Fault, packet: bytes) -> bool:
        """Do what is to be done to a request; whether the server is to have it."""
        do, request_id = fault["do"], packet[1:5]
        if do == "ignore":
            return False
        if do == "stop":
            wait_for_the_end()
            os._exit(0)
        if do == "exit":
            os._exit(fault.get("status", 1))
        if do == "refuse":
            message = fault.get("message", "refused").encode()
            status = struct.pack(">I", fault.get("code", 4)) + string(message) + string(b"")
            self._say(framed(bytes([STATUS]) + request_id + status))
            return False
        if do == "run":
            run(fault["command"])
            return True
        self._spoiled[b"" if packet[0] == INIT else request_id] = fault
        return True

    def _spoil(self, fault: Fault, packet: bytes) -> None:
        """Send something else than the reply."""
        do, kind, request_id, body = fault["do"], packet[0], packet[1:5], packet[5:]
        if do == "hold":
            self._held.append([fault["replies"], framed(packet)])
        elif do == "half":
            self._say(framed(packet)[: max(1, len(packet) // 2)])
            os._exit(1)
        elif do == "say":
            self._say(bytes.fromhex(fault["bytes"]))
        elif do == "reply":
            content = bytes.fromhex(fault["body"])
            self._say(framed(bytes([fault["kind"]]) + request_id + content))
        elif do == "other id":
            self._say(framed(bytes([kind]) + struct.pack(">I", 0xFFFFFF00) + body))
        elif do == "data":
            self._say(framed(packet[:5] + spoiled_data(fault, body) if kind == DATA else packet))
        elif do == "names":
            self._say(framed(bytes([NAME]) + request_id + self._names(fault["names"])))
        elif do == "attributes":
            self._say(framed(spoiled_attributes(fault, packet)))
        elif do == "extensions":
            self._say(framed(bytes([VERSION]) + struct.pack(">I", 3) + extensions(fault, body)))
        else:
            raise ValueError(do)

    def _names(self, names: list[tuple[str, int]]) -> bytes:
        """The body of a reply with these entries: names in hexadecimal, and their types."""
        content = struct.pack(">I", len(names))
        for name, mode in names:
            self._entries += 1
            number = str(self._entries).encode()
            content += string(bytes.fromhex(name).replace(b"#", number)) + string(b"")
            content += struct.pack(">II", PERMISSIONS, mode)
        return content

    def _say(self, data: bytes) -> None:
        with self._writing:
            write_all(1, data)
            for held in self._held:
                held[0] -= 1
            late = [each for count, each in self._held if count <= 0]
            self._held = [held for held in self._held if held[0] > 0]
            for each in late:
                write_all(1, each)


def spoiled_data(fault: Fault, body: bytes) -> bytes:
    """The body of an SSH_FXP_DATA with less, or with more, than the server read."""
    data = body[4:]
    data = data[: fault["at most"]] if "at most" in fault else data + bytes(fault["more"])
    return string(data)


def spoiled_attributes(fault: Fault, packet: bytes) -> bytes:
    """An SSH_FXP_ATTRS with another size or another mode."""
    if packet[0] != ATTRS:
        return packet
    flags, size, uid, gid, mode, *times = struct.unpack(">IQIIIII", packet[5:37])
    size, mode = fault.get("size", size), fault.get("mode", mode)
    return packet[:5] + struct.pack(">IQIIIII", flags, size, uid, gid, mode, *times)


def extensions(fault: Fault, body: bytes) -> bytes:
    """The extensions of an SSH_FXP_VERSION, as far as they are not taken away."""
    kept, at = b"", 0
    while at < len(body):
        pair = []
        for _ in range(2):
            size = struct.unpack_from(">I", body, at)[0]
            pair.append(body[at + 4 : at + 4 + size])
            at += 4 + size
        if pair[0].decode() not in fault["without"]:
            kept += string(pair[0]) + string(pair[1])
    return kept


def string(value: bytes) -> bytes:
    """A string with its length in front."""
    return struct.pack(">I", len(value)) + value


framed = string


def read_packet(descriptor: int) -> bytes | None:
    """The next packet, ``None`` at the end."""
    header = read_all(descriptor, 4)
    return None if header is None else read_all(descriptor, struct.unpack(">I", header)[0])


def read_all(descriptor: int, size: int) -> bytes | None:
    """So many bytes, ``None`` where the end comes first."""
    parts = []
    while size:
        part = os.read(descriptor, size)
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything; whoever reads may have left."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        os._exit(0)


def wait_for_the_end() -> None:
    """Wait until the client has left, without reading what it sends."""
    leaving = select.poll()
    leaving.register(0, 0)
    leaving.poll()


def run(command: str) -> None:
    """Run a command of the shell, whose output goes where our errors go."""
    arguments = ["/bin/sh", "-c", command]
    output = [(os.POSIX_SPAWN_DUP2, 2, 1)]
    child = os.posix_spawn(arguments[0], arguments, os.environ, file_actions=output)
    assert os.waitpid(child, 0)[1] == 0, command


def main(plan: str, server: str) -> None:
    """Stand between our standard streams and the SFTP server."""
    with open(plan) as written:
        faults = eval(written.read())
    asked, asking = os.pipe()
    answering, answered = os.pipe()
    streams = [(os.POSIX_SPAWN_DUP2, asked, 0), (os.POSIX_SPAWN_DUP2, answered, 1)]
    child = os.posix_spawn(server, [server], os.environ, file_actions=streams)
    os.close(asked)
    os.close(answered)
    between = Between(faults, asking, answering)
    _thread.start_new_thread(between.pass_replies, ())
    between.pass_requests()
    os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
