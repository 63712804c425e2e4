"""Servers to test and measure against: real ones as child processes, fakes in threads.

Only the standard library is needed here (the asyncssh server's child process needs asyncssh), so
that the demonstration and the benchmarks can use these servers too.
"""
