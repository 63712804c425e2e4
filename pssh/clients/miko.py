"""The place of the paramiko client of the 1.x releases."""

raise ImportError(
    "The paramiko client (pssh.clients.miko) was removed in parallel-ssh 2.0. "
    "Use pssh.clients (libssh2) instead: the names of the classes are the same."
)
