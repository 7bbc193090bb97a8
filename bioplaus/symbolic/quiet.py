"""Brian2's own way of calling pyparsing is nobody's fault who writes a cell: what pyparsing says of it is kept from Python."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """No DeprecationWarning from Brian2 or pyparsing, which ``python -W error`` would make an error of the text that is read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(brian2|pyparsing)(\.|$)")
        yield
