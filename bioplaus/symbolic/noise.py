"""White noise ``xi`` in differential equations, as Brian2 has it: dW = √dt · N(0, 1) over a step, for every neuron anew.

A cell's step is a function, so that its derivatives exist: the normal numbers are among its arguments. ``xi`` stands in one equation;
``xi_1`` is the same noise wherever it stands, and ``xi_2`` another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

NOISE = re.compile(r"xi(_\w+)?")
#: methods that are proposed for noise; the second takes it multiplied by states, in the sense of Stratonovich
TRIED = ("euler", "heun")
_DRAWN = re.compile(r"^(xi\w*) = dt\*\*\.5 \* randn\(\)$", re.MULTILINE)


def among(words: Iterable[str]) -> tuple[str, ...]:
    """Those of the words that mean noise."""
    return tuple(sorted(word for word in words if NOISE.fullmatch(word)))


def normal(xi: str) -> str:
    """What the normal number of a step is called: xi is √dt times it."""
    return f"normal_{xi}"


def given(code: str) -> str:
    """Brian2's code of a step with the normal numbers under their names, where it would draw them."""
    read = _DRAWN.sub(lambda found: f"{found[1]} = dt**.5*{normal(found[1])}", code)
    assert "randn" not in read, f"Brian2 draws in another way than was known of it: {code}"
    return read
