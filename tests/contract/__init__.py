"""The public contract, written once for every client library."""
