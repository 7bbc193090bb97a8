"""Everything that has a name, told in one line each; content files are read, not imported."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

KINDS = ("models", "circuits", "rules", "predictors", "tasks", "experiments")
SINGULAR = {kind: kind.removesuffix("s") for kind in KINDS}

_CONTENT = ("models", "circuits", "experiments")
UNUSED = "study, not used"  # and not read either


def names(kind: str) -> list[str]:
    """The names of one kind; those of rules and predictors import torch."""
    if kind in _CONTENT:
        from bioplaus import content

        return list(content.names(SINGULAR[kind]))
    if kind == "tasks":
        from bioplaus.tasks import TASKS

        return list(TASKS)
    if kind == "rules":
        from bioplaus.rules import BESIDE, TABLE

        return [*TABLE, *BESIDE]
    from bioplaus.cerebellum.predictors import PREDICTORS

    return list(PREDICTORS)


def columns(kind: str) -> tuple[str, ...]:
    """Heads of the table of one kind."""
    if kind == "rules":
        return ("rule", "faces", "tensor", "random", "closed", "claim", "online", "local", "memory", "time")
    return (SINGULAR[kind], "what it is", *(("from",) if kind in _CONTENT else ()))


def rows(kind: str) -> list[tuple[str, ...]]:
    """The table of one kind."""
    if kind in _CONTENT:
        placed = [(name, file, origin(file)) for name, file in _files(kind).items()]
        return [(name, "" if of == UNUSED else summary(file, name), of) for name, file, of in placed]
    if kind == "tasks":
        from bioplaus.tasks import TASKS

        return [(name, entry.summary) for name, entry in TASKS.items()]
    if kind == "rules":
        return _rules()
    from bioplaus.cerebellum.predictors import PREDICTORS

    return [(name, first_line(make)) for name, make in PREDICTORS.items()]


def _rules() -> list[tuple[str, ...]]:
    from bioplaus.declaration import order
    from bioplaus.rules import TABLE

    found = []
    for name, make in TABLE.items():
        rule = make()
        past, future = halves = (rule.past, rule.future)
        faced = future if rule.facing == "future" else past
        tensor = ", ".join(half.tensor for half in halves if half.tensor != "–")
        local = in_word(past.local and future.local)
        if local == "yes" and (past.transport or future.transport):
            local = "yes*"
        found.append(
            (
                name,
                rule.facing,
                tensor,
                in_word(past.random or future.random),
                in_word(past.closed and future.closed),
                rule.claim,
                in_word(past.causal and future.causal),
                local,
                *(order(each).replace(" + ", "+") for each in (faced.memory, faced.time)),
            )
        )
    return found


def in_word(value: bool) -> str:
    """``yes`` or ``no``."""
    return "yes" if value else "no"


def legend(kind: str) -> tuple[str, ...]:
    """What the words and letters of a table mean."""
    return _LEGEND if kind == "rules" else ()


_LEGEND = (
    "past: what the weights did meets this step's error; future: what they do now meets credit for all that follows.",
    "random: draws while it learns (stochastic); closed: in closed form, not with learned tensors of its own (numerical).",
    "yes*: local, but for credit that comes back through weights that carry activity forwards (weight transport).",
    "Kept and computed per sample and step by the half that it faces: n neurons, m inputs of each, K channels, S states,",
    "T steps of a window, k the rule's own number, r neurons within reach, θ a predictor's weights; z a state, j a neuron,",
    "s a state within reach, o an output. `bioplaus show RULE` has the equations and all that its halves declare.",
    "Beside these, which follow spikes and no gradient: `bioplaus show stdp`, `bioplaus show climbing_fibre`.",
)


def _files(kind: str) -> dict[str, Path]:
    from bioplaus import content

    return content.names(SINGULAR[kind])


def origin(file: Path) -> str:
    """``shipped``, or ``study`` for a file of the user's own; with a remark if it shadows a shipped one, or is not run."""
    from bioplaus import content

    shipped = content.shipped()
    if file.is_relative_to(shipped):
        return "shipped"
    if content.withheld():
        return UNUSED
    return "study, in place of a shipped one" if (shipped / file.parent.name / file.name).exists() else "study"


def summary(file: Path, name: str) -> str:
    """First line of the docstring of the file, or of the function of its name."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        return f"can't be read: {error}"
    own = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    texts = (ast.get_docstring(node) for node in (tree, *own))
    return next((text.splitlines()[0] for text in texts if text), "")


def first_line(thing: Callable[..., object]) -> str:
    """First line of a docstring."""
    return (thing.__doc__ or "").strip().partition("\n")[0]
