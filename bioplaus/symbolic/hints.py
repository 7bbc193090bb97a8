"""What a text that can't be read was probably meant to be: one sentence for its error message."""

from __future__ import annotations

import re
from keyword import iskeyword

_WORDS = {"and", "or", "not", "if", "else", "True", "False"}
_COMMENT = r"//|/\*"
_HASH = "A comment starts with #, and ends with the line."
#: what is written so in other languages, and how it is written here
_ELSEWHERE = (
    (r"[\w)] *// *[\d(]", "There is no division to whole numbers, which has no derivative; a comment starts with #."),
    (_COMMENT, _HASH),
    (r"\^", "A power is written with two stars, as in v**2."),
    (r"\bif\b", "There is no if; step(x) is 1 where x > 0 and else 0."),
    (r"\b(np|numpy|math|torch)\.", "Functions are called by their names alone: tanh(x)."),
    (r"(?<![\w.])\d+(\.\d+)?(?![eE][+-]?\d)[A-Za-z_]", "A product is written with a star, as in 2*v."),
)


def hint(text: str) -> str:
    """A sentence, with a blank in front, about the first thing in a text that is written otherwise; or nothing."""
    if strange := letters(text):
        return strange
    for pattern, said in _ELSEWHERE:
        if re.search(pattern, text):
            return f" {said}"
    taken = [w for w in re.findall(r"\w+", text) if iskeyword(w) and w not in _WORDS]
    return f" '{taken[0]}' is a word of Python; choose another name." if taken else ""


def letters(text: str) -> str:
    """The same about the first letter or sign that no text of a cell may contain."""
    strange = next((c for c in text if not c.isascii()), "")
    if not strange:
        return ""
    return f" It contains '{strange}' (U+{ord(strange):04X}); write it with the letters a to z and plain signs, as in tau, - or *."


def of_name(name: str, text: str) -> str:
    """The same for a name that is not known, in a text."""
    return letters(name) or (f" {_HASH}" if re.search(rf"({_COMMENT}).*\b{name}\b", text) else "")


def of_equations(text: str) -> str:
    """The same for a block of equations, line by line."""
    for line in (line.strip() for line in text.splitlines()):
        if not line:
            continue
        if re.search(_COMMENT, line):
            return f" {_HASH}"
        if ";" in line:
            return " Each equation has a line of its own; there is no ';' between or behind them."
        if re.search(r"\bunless refractory\b", line) and not re.search(r"\(.*\bunless refractory\b.*\)\s*$", line):
            return " A flag stands in brackets: (unless refractory)."
        if re.match(r"\w+'+\s*=", line) or re.match(r"[^=/]*[*]\s*d\w+\s*/\s*dt", line):
            return f" In '{line}' the left side is to be dv/dt alone, with v your variable; what multiplies it divides the right side."
        if re.search(r"=\s*(:|$)", line):
            return f" In '{line}' nothing stands behind the '='."
        if ":" not in line:
            return f" '{line}' has no unit: write ' : 1' behind it, or ' : volt', ' : amp' and so on."
    return hint(text)


def of_expression(text: str) -> str:
    """The same for an expression, such as an output."""
    if ";" in text:
        return " It is to be one expression: leave out the ';' and what stands beside it. Statements go into update= and reset=."
    if re.search(r"(,|\band\b)[^=]*=", text):
        return " Statements are separated by ';'."
    if re.match(r"\s*\w+\s*=[^=]", text):
        return " Write the right side alone, without the name and '='."
    if re.search(r":\s*\w+\s*$", text):
        return " It has no unit behind it: leave out the ':' and what follows."
    return hint(text)


def of_statement(text: str) -> str:
    """The same for an assignment."""
    if re.match(r"\s*d\w+\s*/\s*dt\s*=", text):
        return " A differential equation goes into equations=, with its unit: 'dv/dt = (-v + I)/tau : 1'."
    return hint(text)
