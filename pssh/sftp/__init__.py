"""The SFTP version 3 client protocol: bytes in, bytes out. Pure.

The standard is draft-ietf-secsh-filexfer-02, with the extensions that OpenSSH's PROTOCOL file
describes. :mod:`pssh.sftp.requests` says what to ask for, :class:`pssh.sftp.exchange.Exchange`
turns it into packets and matches what the server answers, :mod:`pssh.sftp.replies` holds the
answers, and :func:`pssh.sftp.status.error_for` makes an error of a status.
"""
