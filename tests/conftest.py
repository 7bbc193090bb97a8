"""One thread a process, however the tests are started: threads that spin for small tensors only get in each other's way."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
