"""The process of :class:`tests.servers.template.Template`: it loads a module and copies itself.

A message on its socket is either a job, with the three standard streams that the copy is to have,
or the number of a copy that has ended. The answers are the copy's process, and its exit status.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
import types
from typing import NamedTuple

#: Bytes of the longest message.
MESSAGE_LIMIT = 128 * 1024

#: prctl(2)'s name for the signal that a process gets when the one that started it has ended.
PR_SET_PDEATHSIG = 1


class Job(NamedTuple):
    """A program: what it runs, its ``sys.argv``, and its whole environment."""

    source: str
    arguments: list[str]
    environment: dict[str, str]


def serve(control: socket.socket) -> str | None:
    """Copy this process for each job until nobody can ask for one any more.

    :returns: in a copy what it is to run, and ``None`` in the end.
    """
    while True:
        message, streams, _, _ = socket.recv_fds(control, MESSAGE_LIMIT, 3)
        if not message:
            return None
        request = json.loads(message)
        if isinstance(request, int):
            _, status = os.waitpid(request, 0)
            control.send(b"%d" % os.waitstatus_to_exitcode(status))
            continue
        job = Job(*request)
        template = os.getpid()
        copy = os.fork()
        if copy == 0:
            control.close()
            become(job, streams, template)
            return job.source
        for stream in streams:
            os.close(stream)
        control.send(b"%d" % copy)


def become(job: Job, streams: list[int], template: int) -> None:
    """Make this copy a process of its own."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != template:
        os._exit(1)  # it ended before it could have told us
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    os.environ.clear()
    os.environ.update(job.environment)
    sys.argv = job.arguments


def main() -> str | None:
    """``template_child DESCRIPTOR MODULE [ATTRIBUTE]``: load this module and serve on that socket.

    The attribute is one that the module loads when it is first asked for.
    """
    descriptor, module, *attributes = sys.argv[1:]
    loaded = importlib.import_module(module)
    for attribute in attributes:
        getattr(loaded, attribute)
    # The collector looks at everything when an interpreter ends. What a copy has loaded here is no
    # matter to it, and to look at that, which copies it, takes longer than most programs do.
    gc.freeze()
    return serve(socket.socket(fileno=int(descriptor)))


if __name__ == "__main__":
    # Here, so that a copy's variables live as long as those of any other program: to the end of the
    # interpreter, which is a whole and orderly one.
    _source = main()
    if _source is not None:
        # In a module of its own: this one is among what the collector does not look at.
        sys.modules["__main__"] = types.ModuleType("__main__")
        _program = compile(_source, "<string>", "exec", dont_inherit=True)
        exec(_program, vars(sys.modules["__main__"]))
