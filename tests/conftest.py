"""One thread a process, however the tests are started: threads that spin for small tensors only get in each other's way."""

import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
# compiled loops are kept for all processes of one run of the tests, and not in anybody's home
os.environ.setdefault(
    "BIOPLAUS_KERNELS",
    os.path.join(
        tempfile.gettempdir(),
        f"bioplaus-loops-{os.getuid()}-{os.getppid() if 'PYTEST_XDIST_WORKER' in os.environ else os.getpid()}",
    ),
)
