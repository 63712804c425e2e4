"""Build parallel-ssh. Settings of the development tools are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def read_version() -> str:
    """The version, read as text: importing the package would need its dependencies."""
    text = (HERE / "pssh" / "_version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError("pssh/_version.py does not set __version__ to a string")
    return found.group(1)


def read_requirements() -> list[str]:
    """What the package needs to run, one requirement a line of requirements.txt."""
    lines = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


setup(
    name="parallel-ssh",
    version=read_version(),
    description="Run commands over SSH on many hosts at the same time",
    long_description=(HERE / "README.rst").read_text(encoding="utf-8"),
    long_description_content_type="text/x-rst",
    license_expression="LGPL-2.1-only",
    license_files=["LICENSE"],
    packages=find_packages(include=["pssh", "pssh.*"]),
    package_data={"pssh": ["py.typed"]},
    python_requires=">=3.10",
    install_requires=read_requirements(),
    extras_require={
        "progress": ["rich>=13,<16"],
        # Signatures of the keys of a pssh.agent.SSHAgent that is forwarded.
        "agent": ["bcrypt>=4", "cryptography>=42"],
    },
    keywords="ssh parallel asynchronous gevent libssh2 libssh",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: Implementation :: CPython",
        "Topic :: System :: Networking",
        "Topic :: System :: Systems Administration",
        "Typing :: Typed",
    ],
)
