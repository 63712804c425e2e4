"""OpenSSH's client configuration, ssh_config(5): read, and resolved for a host. Pure.

What comes out is what ``ssh -G`` says, which a test compares. The one thing that it does not do
is to ask name servers (``CanonicalizeHostname``), which it refuses.
"""
