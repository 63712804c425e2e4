"""What both clients share: everything that is not libssh2 or libssh."""
