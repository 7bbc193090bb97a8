"""Brian2 as bioplaus uses it: inside this process, numpy code, float64, silent; and left as it was found."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from brian2 import prefs
from brian2.devices.device import get_device, reset_device, runtime_device, set_device

from bioplaus.symbolic.quiet import quiet


@contextmanager
def runtime(code: str = "numpy") -> Iterator[None]:
    """Run Brian2 in its runtime mode with numpy code, or another that is asked for, whatever device or target the caller has chosen.

    Compiling costs more than it gains on what is asked here: one step of one neuron, or a short comparison.
    Objects made inside never reach a standalone project of the caller's. Brian2's log stays silent: it warns
    about groups that join no network, and ours are built to be asked.
    """
    logger = logging.getLogger("brian2")
    level, target, number = logger.level, prefs.codegen.target, prefs.core.default_float_dtype
    elsewhere = get_device() is not runtime_device
    logger.setLevel(logging.ERROR)
    if elsewhere:
        set_device("runtime")
    prefs.codegen.target, prefs.core.default_float_dtype = code, np.float64
    try:
        with quiet():
            yield
    finally:
        prefs.codegen.target, prefs.core.default_float_dtype = target, number
        if elsewhere:
            reset_device()
        logger.setLevel(level)
