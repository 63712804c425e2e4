"""The types of the clients' keyword arguments, for type checkers and editors.

They are those of :class:`pssh.config.HostConfig`, which is where a setting is declared; type
checkers cannot derive the one from the other. A test compares the two.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypedDict

from pssh.agent import SSHAgent
from pssh.config import HostConfig


class HostSettings(TypedDict, total=False):
    """What can be said of one host and of many."""

    user: str | None
    port: int | None
    password: str | None
    pkey: str | bytes | os.PathLike[str] | None
    allow_agent: bool | None
    num_retries: int | None
    retry_delay: float | None
    timeout: float | None
    identity_auth: bool | None
    proxy_host: str | None
    proxy_port: int | None
    proxy_user: str | None
    proxy_password: str | None
    proxy_pkey: str | bytes | os.PathLike[str] | None
    keepalive_seconds: float | bool | None
    ipv6_only: bool | None
    cert_file: str | None
    _auth_thread_pool: bool | None
    gssapi_auth: bool | None
    gssapi_server_identity: str | None
    gssapi_client_identity: str | None
    gssapi_delegate_credentials: bool | None
    forward_ssh_agent: bool | str | os.PathLike[str] | None
    compress: bool | None
    keyboard_interactive: bool | None
    proxy_jump: str | Sequence[str | tuple[str, HostConfig]] | None
    proxy_command: str | None
    host_key_policy: str | None
    known_hosts: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
    ssh_config: bool | str | os.PathLike[str] | None
    ciphers: Sequence[str] | None
    macs: Sequence[str] | None
    kex_algorithms: Sequence[str] | None
    host_key_algorithms: Sequence[str] | None
    buffer_size: int | None
    buffer_overflow: str | None
    proxy_max_targets: int | None
    agent: SSHAgent | None
    hostname: str | None
    host_key_alias: str | None
    address_family: str | None
    bind_address: str | None
    connect_timeout: float | None
    keepalive_count_max: int | None
    identity_files: Sequence[str | os.PathLike[str]] | None
    identities_only: bool | None
    identity_agent: str | os.PathLike[str] | None
    certificate_files: Sequence[str | os.PathLike[str]] | None
    public_key_algorithms: Sequence[str] | None
    set_env: Mapping[str, str] | None
    use_pty: bool | None


class ClientSettings(HostSettings, total=False):
    """The keyword arguments of a client for one host."""

    alias: str | None


class ParallelSettings(HostSettings, total=False):
    """The keyword arguments of a parallel client."""

    pool_size: int | None
    host_config: Sequence[HostConfig] | None
