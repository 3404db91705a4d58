"""What the benchmarks of this directory share: load, sink, nameserver, what a process costs, and how results are written."""

import os
import sys

# How servers are run is shared with the interop tests.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests"))
