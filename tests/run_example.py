"""Run a script of the documentation as it stands, against a test server.

The script says ``localhost`` and means port 22, where no test server can listen: the one thing that
this changes is the default port. Usage: ``run_example.py PORT SCRIPT``.
"""

import runpy
import sys

from pssh.config import HostConfig


def main() -> None:
    port, script = int(sys.argv[1]), sys.argv[2]
    with_defaults = HostConfig.with_defaults
    default = HostConfig(port=port)
    HostConfig.with_defaults = lambda self: with_defaults(self.over(default))  # type: ignore[method-assign]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
