"""Run scripts of the documentation as they stand, against a test server.

A script says ``localhost`` and means port 22, where no test server can listen: the one thing that
this changes is the default port.

Each script has a process of its own, a copy of this one, which has loaded the interpreter and our
package once for all: that is most of what a short script costs. Each line of the input is a job (a
JSON object of the fields of :class:`Job`), each line of the output the exit status of its process.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import sys
from typing import NamedTuple

from pssh.config import HostConfig


class Job(NamedTuple):
    """A script to run, the port that it means, its whole environment, and where it prints to."""

    script: str
    folder: str
    port: int
    environment: dict[str, str]
    output: str


def serve() -> None:
    """Run what is asked for, one after the other, until the end of the input."""
    for library in ("native", "ssh"):
        # Not only the module: its clients are loaded when they are first asked for.
        importlib.import_module(f"pssh.clients.{library}").ParallelSSHClient  # noqa: B018
    # Otherwise the collector of each copy would touch, and so copy, all of this one's memory.
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            # What follows is the whole life of an interpreter, its orderly end included.
            run(Job(**json.loads(line)))
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(job: Job) -> None:
    os.chdir(job.folder)
    os.environ.clear()
    os.environ.update(job.environment)
    output = os.open(job.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, stream in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, stream)
    os.close(nothing)
    os.close(output)

    with_defaults = HostConfig.with_defaults
    default = HostConfig(port=job.port)
    HostConfig.with_defaults = lambda self: with_defaults(self.over(default))  # type: ignore[method-assign]
    sys.argv = [job.script]
    runpy.run_path(job.script, run_name="__main__")


if __name__ == "__main__":
    serve()
