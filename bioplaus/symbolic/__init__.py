"""From equation text to torch source: integrate (Brian2), differentiate (sympy), print (torch)."""

import sys

# Brian2 replaces the interpreter's exception hook and writes a report for every uncaught error; errors of scripts that
# merely use bioplaus are not Brian2's to report.
_hook = sys.excepthook
import brian2  # noqa: E402, F401

sys.excepthook = _hook
