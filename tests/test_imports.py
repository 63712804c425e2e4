"""Who may import whom: the layers of the package, checked over its source.

The rules, from the bottom up: pure modules (everything outside `pssh.clients`) import neither
gevent nor a binding; `pssh.clients.base` and what stands beside it imports gevent, never a binding;
only `pssh.clients.native` imports `ssh2`, only `pssh.clients.ssh` imports `ssh`, neither imports
the other; only parallel modules know that there is more than one host; nothing else is used.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "pssh"

# Each binding, and the one package that may import it.
BINDINGS = {"ssh2": "pssh.clients.native", "ssh": "pssh.clients.ssh"}
# What stands on the same level as `pssh.clients.base`, under the import path that users know.
BASE = {"pssh.output", "pssh.progress"}
# What is not a dependency but an extra, and the one module that may import it.
EXTRAS = {
    "bcrypt": "pssh.agent_signing",
    "cryptography": "pssh.agent_signing",
    "rich": "pssh.progress",
}
# What every type checker brings along, and no program needs.
FOR_TYPES = {"typing_extensions"}
# Modules that only hand on names, so that old import paths keep working.
RE_EXPORTS = {"pssh.pssh_client", "pssh.pssh2_client"}


class Import(NamedTuple):
    """One imported module, and whether it is imported for the type checker alone."""

    name: str
    line: int
    for_types: bool


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return bool(name == "TYPE_CHECKING")


def imports_in(node: ast.AST, package: str, for_types: bool = False) -> Iterator[Import]:
    """Every import below `node`, in functions too; `package` is what relative ones start from."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno, for_types)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents, base]).rstrip(".")
        # `from pssh.clients import native` imports a module as much as `import` does.
        for alias in node.names:
            yield Import(f"{base}.{alias.name}", node.lineno, for_types)
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
            yield Import(node.args[0].value, node.lineno, for_types)
    if isinstance(node, ast.If) and is_type_checking(node.test):
        for statement in node.body:
            yield from imports_in(statement, package, for_types=True)
        for statement in node.orelse:
            yield from imports_in(statement, package, for_types)
        return
    for child in ast.iter_child_nodes(node):
        yield from imports_in(child, package, for_types)


def complaint(module: str, imported: Import) -> str | None:
    """What is wrong with `module` importing this, or None."""
    name = imported.name
    top = name.partition(".")[0]
    if top in BINDINGS:
        # A binding's types would tie a layer to it as firmly as its functions.
        return None if is_within(module, BINDINGS[top]) else f"only {BINDINGS[top]} imports {top}"
    if top in EXTRAS:
        return None if module == EXTRAS[top] else f"only {EXTRAS[top]} imports {top}"
    if top in FOR_TYPES and imported.for_types:
        return None
    if top not in ("pssh", "gevent") and top not in sys.stdlib_module_names:
        return "the package depends on gevent and the two bindings only"
    if imported.for_types or module in RE_EXPORTS:
        return None
    if not is_within(module, "pssh.clients") and module not in BASE:
        above = is_within(name, "pssh.clients") or any(is_within(name, other) for other in BASE)
        if top == "gevent" or above:
            return "pure modules import neither gevent nor the clients"
        return None
    return complaint_between_clients(module, name)


def complaint_between_clients(module: str, name: str) -> str | None:
    below_the_clients = not any(is_within(module, client) for client in BINDINGS.values())
    for package in BINDINGS.values():
        if not is_within(name, package) or is_within(module, package):
            continue
        if not below_the_clients:
            return "the clients never import each other"
        if module != "pssh.clients":
            return f"what both clients stand on does not import {package}"
    hands_on = module in ("pssh.clients", *BINDINGS.values())
    if ".parallel" in name and not hands_on and ".parallel" not in module:
        return "only parallel modules know that there is more than one host"
    return None


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    """What breaks the rules in the source of `module`."""
    package = module if is_package else module.rpartition(".")[0]
    found = []
    for imported in imports_in(ast.parse(source), package):
        wrong = complaint(module, imported)
        if wrong is not None:
            found.append(f"{module}, line {imported.line}: imports {imported.name}, but {wrong}")
    return found


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_the_package_keeps_the_rules() -> None:
    found = [
        wrong
        for module, path in modules()
        for wrong in violations(module, path.read_text(), is_package=path.stem == "__init__")
    ]
    assert found == []


def test_every_layer_is_looked_at() -> None:
    names = {module for module, _ in modules()}
    assert {
        "pssh.config",
        "pssh.exceptions",
        "pssh.clients",
        "pssh.clients.base.single",
        "pssh.clients.base.parallel",
        "pssh.clients.native.single",
        "pssh.clients.native.parallel",
    } <= names


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pssh.config", "import gevent"),
        ("pssh.config", "from gevent.event import Event"),
        ("pssh.config", "import ssh2.session"),
        ("pssh.config", "from pssh.clients import SSHClient"),
        ("pssh.config", "from pssh.output import HostOutput"),
        ("pssh.output", "from pssh.clients.native.single import SSHClient"),
        ("pssh.output", "import ssh2"),
        ("pssh.output", "from pssh.clients.base.parallel import BaseParallelSSHClient"),
        ("pssh.lines", "def f():\n    from gevent import sleep"),
        ("pssh.lines", "from .clients.reader import ConcurrentRWBuffer"),
        ("pssh.clients.base.single", "from ssh2.session import Session"),
        ("pssh.clients.base.single", "if TYPE_CHECKING:\n    from ssh2.session import Session"),
        ("pssh.clients.base.single", "import ssh"),
        ("pssh.clients.base.single", "import importlib\nimportlib.import_module('ssh2.session')"),
        ("pssh.clients.base.single", "from pssh.clients.native.session import NativeSession"),
        ("pssh.clients.base.single", "from ..native import session"),
        (
            "pssh.clients.base.single",
            "from pssh.clients.base.parallel import BaseParallelSSHClient",
        ),
        ("pssh.clients.base.connect", "from pssh.clients.base import parallel"),
        ("pssh.clients.reader", "import ssh2"),
        ("pssh.clients.reader", "from pssh.clients.native import single"),
        ("pssh.clients.native.single", "import ssh.session"),
        ("pssh.clients.native.single", "from pssh.clients.ssh.single import SSHClient"),
        (
            "pssh.clients.native.single",
            "from pssh.clients.native.parallel import ParallelSSHClient",
        ),
        ("pssh.clients.ssh.single", "import ssh2.session"),
        ("pssh.clients.ssh.single", "from pssh.clients.native.session import NativeSession"),
        ("pssh.utils", "import requests"),
        ("pssh.utils", "from typing_extensions import Unpack"),
        ("pssh.clients.base.parallel", "import rich"),
        ("pssh.agent", "def f():\n    import cryptography"),
        ("pssh.clients.native.tunnel", "try:\n    import paramiko\nexcept ImportError: pass"),
    ],
)
def test_a_planted_violation_is_found(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pssh.config", "from pathlib import Path\nfrom pssh.exceptions import HostConfigError"),
        ("pssh.exceptions", "if TYPE_CHECKING:\n    from pssh.clients import SSHClient"),
        (
            "pssh.clients.base.single",
            "from gevent.event import Event\nfrom .connect import connect",
        ),
        ("pssh.clients.base.parallel", "from pssh.clients.base.single import BaseSSHClient"),
        ("pssh.clients.native.session", "from ssh2.session import Session"),
        ("pssh.clients.native.parallel", "from pssh.clients.base import parallel"),
        ("pssh.clients.ssh.session", "from ssh.session import Session"),
        ("pssh.clients", "from pssh.clients.native.parallel import ParallelSSHClient"),
        ("pssh.pssh_client", "from pssh.clients import ParallelSSHClient"),
        ("pssh.utils", "if TYPE_CHECKING:\n    from typing_extensions import Unpack"),
    ],
)
def test_what_is_allowed_is_left_alone(module: str, source: str) -> None:
    assert violations(module, source) == []
