"""One thread a process, however the tests are started: threads that spin for small tensors only get in each other's way."""

import os
import shutil
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")

WORKER = "PYTEST_XDIST_WORKER" in os.environ
#: compiled loops are kept for all processes of one run of the tests, not in anybody's home, and not for longer
LOOPS = os.path.join(tempfile.gettempdir(), f"bioplaus-loops-{os.getuid()}-{os.getppid() if WORKER else os.getpid()}")
os.environ.setdefault("BIOPLAUS_KERNELS", LOOPS)


def pytest_sessionfinish() -> None:
    if not WORKER:
        shutil.rmtree(LOOPS, ignore_errors=True)
