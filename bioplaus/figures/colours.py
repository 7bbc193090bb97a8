"""One fixed pen (colour and line style) per learning rule, so that every figure can be read with one key.

The colours are those of Okabe and Ito, which stay apart for colour-blind readers. BP(λ) owns the blue hue:
the smaller λ, the paler the blue. Variants of one rule share its colour and differ by line style.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple
from zlib import crc32

from bioplaus import checks
from bioplaus.errors import RunError

OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky blue": "#56B4E9",
    "bluish green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "reddish purple": "#CC79A7",
}

# Sky blue is given to no rule: it lies inside the shades of BP(λ). Okabe and Ito's yellow is darkened,
# because a thin line of it can't be read on white. Truncated BPTT and the predictor switched off are greys:
# both are BPTT (black) with part of the credit missing. So few hues can't tell all rules apart: from
# sliding BPTT on a rule has its line style too, dotted where random numbers enter its gradient.
RULES = {
    "bptt": OKABE_ITO["black"],
    "tbptt": "#555555",
    "predictor off": "#999999",
    "rtrl": "#A89B00",
    "eprop": OKABE_ITO["vermillion"],
    "rflo": OKABE_ITO["orange"],
    "dni": OKABE_ITO["bluish green"],
    "bp_lambda": OKABE_ITO["blue"],
    "label-conditioned": OKABE_ITO["reddish purple"],
    "sliding_bptt": "#7A8599",
    "hops": "#6B5B00",
    "snap": "#C9B84C",
    "mdgl": "#F4937A",
    "uoro": "#5E3C99",
    "kf_rtrl": "#9C6FD6",
    "r_kf_rtrl": "#C9B3E8",
    "kernl": "#8C510A",
    "three_factor": "#A50F4B",
}

# For labels that name no rule. chosen: the part of Tol's "muted" set farthest from the rules' colours.
LEFTOVER = ("#882255", "#332288", "#117733", "#DDAA88", "#44AA99", "#661100", "#AA4499", "#999933")

LINES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)), (0, (6, 1, 1, 1, 1, 1)))

# The line that a rule is drawn with first; solid for the others.
_FIRST: dict[str, Any] = dict.fromkeys(("sliding_bptt", "hops", "snap", "mdgl"), LINES[1])
_FIRST |= dict.fromkeys(("uoro", "kf_rtrl", "r_kf_rtrl", "kernl", "three_factor"), LINES[2])

# The way a label may spell each rule, tried in this order; "tbptt" and "predictor off" come before the names
# they contain or stand beside, as in "bp_lambda, predictor off".
_SPELLINGS = (
    ("predictor off", r"\bpredictor off\b|\b(no|without)( the)? predictor\b"),
    ("label-conditioned", r"\blabel conditioned\b"),
    ("sliding_bptt", r"\bsliding (bptt|backpropagation)\b"),
    ("hops", r"\bhops?\b"),
    ("snap", r"\bsnap ?\d*\b"),
    ("mdgl", r"\bmdgl\b"),
    ("uoro", r"\buoro\b"),
    ("r_kf_rtrl", r"\br kf rtrl\b|\breverse kf rtrl\b"),
    ("kf_rtrl", r"\bkf rtrl\b"),
    ("kernl", r"\bkernl\b"),
    ("three_factor", r"\b(three|3) factor\b"),
    ("tbptt", r"\btbptt\b|\btruncated bptt\b"),
    ("bptt", r"\bbptt\b"),
    ("rtrl", r"\brtrl\b"),
    ("eprop", r"\be ?prop\b"),
    ("rflo", r"\brflo\b"),
    ("bp_lambda", r"\bbp ?\(|\bbp ?(lambda|lmbda|λ)|^(lambda|lmbda|λ)"),
    ("dni", r"\bdni\b|\bsynthetic gradients?\b"),
)
_LAMBDA = re.compile(r"(?:λ|lambda|lmbda|\bbp ?\()[\s=:(λ]*(\d*\.?\d+)")


class Pen(NamedTuple):
    """How a label is drawn: a ``#rrggbb`` colour and a matplotlib line style."""

    colour: str
    line: Any


def rule_of(label: str) -> str | None:
    """Name of the rule that a label speaks of, or None; ``"e-prop, random"`` speaks of ``"eprop"``."""
    plain = _plain(label)
    return next((rule for rule, pattern in _SPELLINGS if re.search(pattern, plain)), None)


def colour(label: str) -> str:
    """Colour of a label by itself: a rule's own, a shade of blue for BP(λ), or a leftover one.

    Examples
    --------
    >>> colour("eprop"), colour("bp_lambda λ=1"), colour("bp_lambda λ=0")
    ('#D55E00', '#0072B2', '#A3CCE3')
    """
    rule = rule_of(label)
    if rule is None:
        # crc32 and not hash(): the same in every process.
        return LEFTOVER[crc32(_plain(label).encode()) % len(LEFTOVER)]
    if rule == "bp_lambda" and (found := _LAMBDA.search(_plain(label))):
        share = min(max(float(found[1]), 0.0), 1.0)
        return _paler(RULES[rule], 0.64 * (1 - share))  # chosen: λ = 0 still reaches 1.7:1 against white
    return RULES[rule]


def pens(labels: Iterable[str]) -> dict[str, Pen]:
    """A different pen for every label of one figure.

    A label that names a rule always gets the rule's colour, and its line if it is the first of that colour;
    later variants of the same rule differ by line style. A label that names none keeps its colour unless
    another such label of the same figure holds it.

    Parameters
    ----------
    labels : iterable of str
        In the order of the legend.

    Returns
    -------
    dict of str to Pen

    Raises
    ------
    RunError
        More labels than can be told apart, or a single one that is not in a list.
    """
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise checks.refusal(
            RunError, "labels", labels, "several names in the order of the legend, such as ['bptt', 'eprop']"
        )
    given: dict[str, Pen] = {}
    for label in dict.fromkeys(labels):
        shades = [colour(label)]
        if rule_of(label) is None:
            start = LEFTOVER.index(shades[0])
            shades = [*LEFTOVER[start:], *LEFTOVER[:start]]
        first = _FIRST.get(rule_of(label) or "", LINES[0])
        lines = [first, *(line for line in LINES if line != first)]
        free = [Pen(shade, line) for line in lines for shade in shades if (shade, line) not in given.values()]
        if not free:
            raise RunError(
                f"The label {label!r} can't be told apart from the others in one figure: {len(LINES)} "
                f"variants of a rule and {len(LINES) * len(LEFTOVER)} names that are no rule have a pen of "
                "their own. Draw fewer arms in one figure."
            )
        given[label] = free[0]
    return given


def _plain(label: str) -> str:
    return re.sub(r"[\s_-]+", " ", str(label).lower()).strip()


def _paler(shade: str, white: float) -> str:
    channels = (int(shade[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(channel + white * (255 - channel)):02X}" for channel in channels)
