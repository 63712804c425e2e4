"""What doc/performance.rst says around its figures, and the columns of its tables."""

from __future__ import annotations

from benchmarks import figures as of
from benchmarks.connect_measures import HOSTS, HOSTS_FAR, SCALE_HOSTS
from benchmarks.figures import Column

#: Fewer hosts than this show what starting costs, not how it grows.
GROWTH_FROM = 10

INTRODUCTION = """\
Performance
===========

.. This page is written by ci/bench. Change ci/benchmarks/page.py instead.

What this library costs beside what you might take instead, measured by one command, ``ci/bench`` in
a checkout. It makes an environment for each of the others from the package indexes, starts servers
on loopback, measures, and writes this page.

- Every run is a fresh process. Within a measure the clients take turns, several rounds of them, on
  the same server with the same key and the same hosts. Tables show medians, and in parentheses the
  extremes. Work that takes longer than a limit is given up, and the table has ``> 60 s`` or the
  like.
- CPU time is that of the whole client, with all its threads and child processes; memory is what was
  resident at most.
- *native* and *libssh* are the two clients of this package: ``pssh.clients`` and
  ``pssh.clients.ssh``. *bare libssh2* and *bare libssh* are the smallest loops over the same
  libraries, which check and keep nothing: a client that is built on them cannot need less.
- *parallel-ssh* is release 2.16, with its two clients. *clush* and *pdsh* start an ``ssh`` for each
  host; *paramiko* has a thread for each host, up to the same number at a time as the others work
  on, and *Fabric* a ``ThreadingGroup`` of as many.
- Each has its own default algorithms. OpenSSH's programs agree on keys that are meant to withstand
  quantum computers, which takes much more CPU time than the exchange that the libraries prefer.
- † marks wall times that are the server's: all processors were busy, and most of the time not with
  the client. A faster client would change nothing about them. The server is OpenSSH's, on the same
  machine; what it needs is counted apart.
- ‡ marks figures of a client that failed once in that measure, and not when it was tried again;
  § those of one that took some commands to have failed (exit code -1) which had not.

The files are in memory, so that no disk is measured. The way to a server that is far away is a
proxy that holds back what passes for half of the round trip, in each direction."""

ABSENT = "This has not been measured yet."

IN_SHORT = """\
How many times better our clients are than the best of the others, whichever that is; below 1 they
are worse."""

CONNECTING = """\
Connecting, authenticating with a key, running ``echo hello`` and reading its result. Up to 100
hosts are worked on at a time; all of them are the same server on loopback."""

GROWTH = f"""\
How these grow with the number of hosts, from {GROWTH_FROM} to {max(HOSTS):,}: the exponent of the
best fit. With 1, twice as many hosts take twice as long; below that, what does not depend on the
hosts still shows."""

DISTANCE = f"""\
The same with {HOSTS_FAR} hosts, at different round trips. What waits for one host after the other
shows here."""

BASTION = f"""\
{HOSTS_FAR} hosts that can be reached through another server only. The libraries open all of their
connections through one to the bastion; ``ssh`` makes another one for each host."""

FURTHER = """\
Commands on connections that are open already: 10 times on 50 hosts. ``ssh`` shares its connections
here (``ControlMaster``)."""

OUTPUT = """\
3 million short lines (``seq``), and 400 MB in lines of 1,000 bytes. *clush* and *pdsh* pass them on
with the host's name in front of each, and *Fabric* returns all of the output at once; the others
give lines of text one by one."""

STREAM = """\
10 GB in lines of 1,000 bytes from one command, and the memory before and after."""

FILES = """\
In both directions. *paramiko* has nothing for directories, and copies one file after the other, as
the programs do; the bare loops send a file to ``cat``, or have it printed."""

MEMORY = """\
What was resident with many connections open, a command having run on each of them, and what that
is for each. For *clush* and *pdsh* it is all processes together, each shared part counted once;
as many of them run as hosts are worked on."""

SCALE = f"""\
{SCALE_HOSTS:,} hosts from one process, all at the same time: none waits for another one to be
done. The server is made for this out of asyncssh, in several processes, because OpenSSH's, with
processes for each connection, needs too much memory."""

LIMITS = """\
What loopback carries from one process to another, what the processor encrypts in packets of 32 KiB
on one core, and what it needs to calculate the keys of a connection:"""

LIMITED = """\
What the libraries allow: the bare loops beside our clients, and how many times worse ours are. At 1
there is nothing left to win without another library."""

BASTION_COLUMNS = (
    Column("wall, s", "bastion", of.wall, is_wall=True),
    Column("client CPU, ms/host", "bastion", of.cpu_per_host(HOSTS_FAR)),
    Column("most memory, MiB", "bastion", of.most),
)
COMMAND_COLUMNS = (
    Column("client CPU, ms", "commands", of.command_cpu),
    Column("wall, ms", "commands", of.command_wall, is_wall=True),
)
OUTPUT_COLUMNS = (
    Column("short lines, million/s", "lines", of.million_lines, is_wall=True),
    Column("client CPU, s", "lines", of.cpu),
    Column("server CPU, s", "lines", of.server),
    Column("long lines, MB/s", "bulk", of.long_rate, is_wall=True),
    Column("client CPU, s", "bulk", of.cpu),
    Column("server CPU, s", "bulk", of.server),
    Column("most memory, MiB", "bulk", of.most),
)
STREAM_COLUMNS = (
    Column("MB/s", "stream10g", of.rate(10_000)),
    Column("client CPU, s", "stream10g", of.cpu),
    Column("before, MiB", "stream10g", lambda figures: figures["before"] / 1024),
    Column("after, MiB", "stream10g", lambda figures: figures["after"] / 1024),
    Column("most, MiB", "stream10g", of.most),
)
LARGE_COLUMNS = (
    Column("put, MB/s", "put", of.big_rate, is_wall=True),
    Column("CPU, s", "put", of.cpu),
    Column("get, MB/s", "get", of.big_rate, is_wall=True),
    Column("CPU, s", "get", of.cpu),
    Column("SCP send, MB/s", "scp-send", of.big_rate, is_wall=True),
    Column("SCP receive, MB/s", "scp-recv", of.big_rate, is_wall=True),
)
LARGE_FAR_COLUMNS = (
    Column("put, MB/s", "large-put-50ms", of.far_rate, is_wall=True),
    Column("get, MB/s", "large-get-50ms", of.far_rate, is_wall=True),
    Column("put / command", "far-put", lambda figures: figures["raw"] / figures["wall"]),
    Column("get / command", "far-get", lambda figures: figures["raw"] / figures["wall"]),
)
SMALL_COLUMNS = (
    Column("1,000 put, s", "small-put", of.wall, is_wall=True),
    Column("1,000 got, s", "small-get", of.wall, is_wall=True),
    Column("20 put at 50 ms, s", "small-put-50ms", of.wall, is_wall=True),
    Column("20 got at 50 ms, s", "small-get-50ms", of.wall, is_wall=True),
)
MEMORY_COLUMNS = (
    Column("100 hosts, MiB", "hosts-100", of.most),
    Column("1,000 hosts, MiB", "hosts-1000", of.most),
    Column("an open connection, KiB", "hosts-1000", of.memory_per_host(1000)),
)
SCALE_COLUMNS = (
    Column("connected, s", "scale", of.wall, is_wall=True),
    Column("client CPU, s", "scale", of.cpu),
    Column("server CPU, s", "scale", of.server),
    Column("slowest host, s", "scale", lambda figures: figures["slowest"]),
    Column("middle, s", "scale", lambda figures: figures["middle"]),
    Column("most, MiB", "scale", of.most),
    Column("a command on all, s", "scale", lambda figures: figures["command"]),
)
MACHINE_COLUMNS = (
    Column("loopback TCP, MB/s", "limits", lambda figures: figures["tcp"]),
    Column("AES-128-GCM, MB/s", "limits", lambda figures: figures["aes128-gcm"]),
    Column("ChaCha20-Poly1305, MB/s", "limits", lambda figures: figures["chacha20-poly1305"]),
    Column("keys, CPU ms", "limits", lambda figures: figures["keys"] * 1000),
)

ALTERNATIVES = {
    "hosts": "Wall time against the number of hosts",
    "round-trip": "Wall time against the round trip",
    "throughput": "Throughput of files and of output",
    "memory": "Memory for each open connection",
}
