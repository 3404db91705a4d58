"""Other mail servers, and ours, in private instances on loopback: for tests/interop and bench/compare.

Python's standard library only. Nothing here touches a mail server that the machine runs: every instance has its own
configuration, queue and data under a scratch directory, and ends with the script that started it.
"""
