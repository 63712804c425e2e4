"""The SCP protocol: what ``scp -t`` and ``scp -f`` speak over an exec channel.

It is rcp's protocol, and no RFC has it; the rules here are what the programs do (scp of OpenSSH
9.2 and asyncssh's server were tried). Both sides send a stream of records, and the receiving side
answers each with one byte: 0, or 1 (it goes on without this one) or 2 (it gives up), both followed
by a line of text. All modules are pure: bytes in, bytes out.

:mod:`pssh.scp.command`: the command line that starts the remote side.
:mod:`pssh.scp.record`: the records themselves.
:mod:`pssh.scp.source`: our side when we send (to ``scp -t``).
:mod:`pssh.scp.sink`: our side when we fetch (from ``scp -f``).
"""
