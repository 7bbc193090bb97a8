"""Typed, dotted options made from dataclasses; every mistake is one paragraph."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import typing
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, TypeVar

from bioplaus.cli import UsageError
from bioplaus.cli.told import EXPLAINED
from bioplaus.errors import BioplausError, cut, ours, unknown

T = TypeVar("T")


def parse(kind: type[T], words: Sequence[str], command: str) -> T:
    """Fill a (nested) dataclass from ``--circuit.units 256``; ``--help`` prints its options and exits.

    Parameters
    ----------
    kind : type
        A dataclass; the comment or docstring of each field becomes its help.
    words : sequence of str
        What was typed.
    command : str
        ``"bioplaus run sequential_digits"``, for messages.

    Raises
    ------
    UsageError
        For an unknown option, with the nearest valid ones; for a missing value or one of the wrong kind.
    """
    allowed = list(option_names(kind))
    words = spelled_out(words, allowed, command)
    check_names(words, allowed, command)
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=list(words), prog=command)
    except SystemExit as exit_:
        if not exit_.code:
            print(f"\n{EXPLAINED}")
            raise
        raise UsageError(
            _paragraph(said.getvalue(), command) or f"`{command}` was given a value it can't use."
        ) from None


def spelled_out(words: Sequence[str], allowed: Sequence[str], command: str) -> list[str]:
    """``--updates`` for ``--training.updates``, where no other option ends so.

    Raises
    ------
    UsageError
        Where several do.
    """
    found = []
    for word in words:
        given, equals, value = word.partition("=")
        name = given.replace("_", "-")
        meant = (
            []
            if name in allowed or not name.startswith("--")
            else [each for each in allowed if _last(each) == _last(name)]
        )
        if len(meant) > 1 and "." not in name:
            raise UsageError(f"`{command}`: {given} may mean {' or '.join(meant)}. Write out which.")
        found.append(f"{meant[0]}{equals}{value}" if len(meant) == 1 and "." not in name else word)
    return found


def _last(name: str) -> str:
    return name.lstrip("-").rpartition(".")[2]


def check_names(words: Sequence[str], allowed: Sequence[str], command: str) -> None:
    """Refuse a word that looks like an option and is none.

    Raises
    ------
    UsageError
        Naming the nearest valid ones.
    """
    known = {*allowed, "--help", "-h"}
    for word in words:
        given = word.partition("=")[0]
        if re.match(r"--?[A-Za-z]", given) and given.replace("_", "-") not in known:
            if not allowed:
                raise UsageError(f"`{command}` has no options but --help; {cut(given)} was given.")
            raise UsageError(
                f"`{command}` has no option {cut(given)}. {_hint(given, allowed)} All of them: {' '.join(allowed)}. "
                f"`{command} --help` explains them."
            )


def _hint(given: str, allowed: Sequence[str]) -> str:
    near = nearest(given, allowed)
    of_rule = ours(_last(given), ("lmbda", "discount"))
    if not of_rule or any(name.startswith(given) for name in near):
        return f"The nearest: {' or '.join(near)}."
    if "--rules" in allowed:
        return f"That is an option of a rule, and stands in brackets behind its name: --rules 'bp_lambda({of_rule[0]}=0.5)'."
    return f"That is an option of a rule, which the experiment's file makes: bp.rule('bp_lambda', {of_rule[0]}=0.5)."


def nearest(given: str, allowed: Sequence[str]) -> list[str]:
    """The names most like `given`, whole or in their last part: ``--units`` is near ``--circuit.units``."""
    given = given[:100]  # of more letters than any name has, a comparison would take a second
    # `--training.epochs` means what `epochs` does, `--circuit.units` what `units` does where it stands by itself
    word = _last(given).replace("_", "-")
    same = [name for name in allowed if _last(name) == word or ours(word, [_last(name).replace("-", "_")])]
    if same:
        beside = [name for name in same if name.rpartition(".")[0] == given.rpartition(".")[0]]
        return (beside or same)[:3]

    def likeness(name: str) -> float:
        whole = SequenceMatcher(None, given, name).ratio()
        return max(whole, SequenceMatcher(None, word, _last(name)).ratio())

    best = max(map(likeness, allowed), default=0.0)
    return [name for name in sorted(allowed, key=likeness, reverse=True) if likeness(name) >= best - 0.1][:3] or [
        "--help"
    ]


def option_names(kind: Any, prefix: str = "") -> Iterator[str]:
    """Every option that a dataclass makes: ``--circuit.units``, ``--verbose``, ``--no-verbose``."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, name = hints[field.name], field.name
        if typing.get_origin(hint) is typing.Annotated:
            hint, *notes = typing.get_args(hint)
            name = next((note.name for note in notes if getattr(note, "name", None) is not None), name)
        path = f"{prefix}.{name}".strip(".").replace("_", "-")
        if dataclasses.is_dataclass(hint):
            yield from option_names(hint, path)
        else:
            yield f"--{path}"
            if hint is bool:
                parent, _, last = path.rpartition(".")
                yield f"--{parent}.no-{last}" if parent else f"--no-{last}"


_KINDS = {
    "invalid literal for int()": "a whole number",
    "could not convert string to float": "a number",
}


def _paragraph(boxed: str, command: str) -> str:
    """What tyro draws in a box, as one paragraph."""
    lines = (re.sub(r"[│╭╮╰╯─]+|-{5,}", " ", line).strip() for line in boxed.splitlines())
    text = " ".join(" ".join(lines).split())
    if found := re.search(r"Missing value for argument '([^']+)'", text):
        return missing(found[1], command)
    if found := re.search(r"Unrecognized options: (.*?) For full helptext", text):
        return (
            f"`{command}` can make nothing of {found[1]!r}. Names come before the options; behind an option comes its value, one word "
            "unless --help shows several: rules, arms and seeds may all be written with commas and without spaces, a,b,c."
        )
    if found := re.search(r"Error parsing (\S+): (.*?)(?: with base 10)?: ('.*')", text):
        wanted = next((words for start, words in _KINDS.items() if found[2].startswith(start)), "")
        if wanted:
            return f"{found[1]} of `{command}` is {found[3]}; it must be {wanted}."
    if "int_max_str_digits" in text and (found := re.search(r"Error parsing (\S+?):", text)):
        return f"{found[1]} of `{command}` is a number of thousands of digits; give a smaller one."
    text = re.sub(r" Argument helptext:.*(?= For full helptext)", ".", text)
    return re.sub(
        r"^(Parsing error|Missing argument|Unrecognized options|Value error|Invalid \w+)\s*", "", text
    ).strip()


def missing(option: str, command: str) -> str:
    """That no value stands behind an option."""
    return f"Missing value for {option} of `{command}`: write it behind the option, with a space or = between."


def check_dashed(words: Sequence[str], kind: Any, command: str) -> None:
    """Refuse the name of a folder that begins with a dash, where options are found in place of a name.

    Raises
    ------
    UsageError
        Saying how to write it.
    """
    word = next((word for word in words if word != "--"), "")
    known = [*option_names(kind), "--help"]
    if word.startswith("-") and word.partition("=")[0] not in known:
        raise UsageError(
            f"`{command}` takes {word!r} for an option, as it begins with a dash, and has none of that name. For a folder of that "
            f"name write ./{word}; options: {' '.join(known)}."
        )


def names_first(words: Sequence[str], what: str, command: str, number: int = 1) -> tuple[list[str], list[str]]:
    """Split off the words before the first option, of which there may be up to `number`.

    Raises
    ------
    UsageError
        If there are more, or the first is missing.
    """
    words = list(words)
    end = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    first, rest = words[:end], words[end:]
    if len(first) > number:
        raise UsageError(
            f"`{command}` takes {what}; {' '.join(map(repr, first[number:]))} is too much. Options begin with --."
        )
    return first, rest


def wants_help(words: Sequence[str]) -> bool:
    """Whether help was asked for."""
    return "-h" in words or "--help" in words


MANY = 10_000  # chosen: seeds or lags


def parse_seeds(text: str) -> tuple[int, ...]:
    """``"0:5"`` → 0, 1, 2, 3, 4; ``"0,2,4"`` → these; ``"3"`` → this one; ``"0:3,7"`` → 0, 1, 2, 7.

    Raises
    ------
    UsageError
        If it is none of these, or names a seed twice; if they are more than `MANY`, or larger than a seed can be.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,19})(?::([0-9]{1,19}))?\s*", part)
        if not match:
            seeds = []
            break
        start = int(match[1])
        these = range(start, int(match[2])) if match[2] is not None else range(start, start + 1)
        if len(seeds) + these.stop - these.start > MANY:
            raise UsageError(f"{cut(text)!r} are more than {MANY} seeds. Give fewer, such as 0:5 for 0 to 4.")
        seeds += these
    if not seeds or len(set(seeds)) < len(seeds):
        raise UsageError(
            f"{cut(text)!r} are not seeds. Give 0:5 for 0 to 4 (the end is not included), 0,2,4 for these three, "
            "or 3 for one; each once."
        )
    return tuple(seeds)


def split(text: str) -> list[str]:
    """``"a,b"`` → ``["a", "b"]``."""
    return [part.strip() for part in text.split(",") if part.strip()]


@contextlib.contextmanager
def typed() -> Iterator[None]:
    """What is refused inside was typed: nothing has run yet.

    Raises
    ------
    UsageError
        In place of the error of whatever refused it.
    """
    try:
        yield
    except BioplausError as error:
        raise UsageError(str(error)) from error


def choose(kind: str, given: str, allowed: Sequence[str]) -> str:
    """`given`, if it is allowed.

    Raises
    ------
    UsageError
        Naming the nearest allowed ones.
    """
    if given not in allowed:
        raise UsageError(unknown(kind, given, allowed))
    return given
