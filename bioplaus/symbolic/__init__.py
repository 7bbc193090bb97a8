"""From a cell's text to its step and partials: read once, checked, integrated (Brian2), differentiated (sympy).

This room opens Brian2. Whatever is needed without it, as `bioplaus list` is, imports this room inside functions only.
"""

import sys

from bioplaus.symbolic.opening import undrawn
from bioplaus.symbolic.quiet import quiet

# Brian2 replaces the interpreter's exception hook and writes a report for every uncaught error; errors of scripts that
# merely use bioplaus are not Brian2's to report.
_hook = sys.excepthook
with quiet(), undrawn():
    import brian2  # noqa: F401

sys.excepthook = _hook
