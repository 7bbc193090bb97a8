"""Text of a circuit's step, fused over time: one loop nest in which spikes are events.

For every step, of the samples from ``first`` to before ``last`` (their neurons stand in one row)::

    I_p = what is known before the step (input, bias, noise), and for each spike that arrives, its row of weights
    u, y, s of every neuron in one pass, as its cell's expressions have it (`bioplaus.codegen.folded`)

What is looked at later is written down, (time, batch, unit), outputs with those of before the first step in front:

============  =======================================================================
``said``      outputs, (ages + time, batch, unit)
``state``     states before each step, and after the last; or the present ones alone
``after``     states after the integrator
``active``    1, or 0 where a neuron was refractory
``waiting``   steps left in its refractory period, as ``state``
``currents``  of each channel, (channel, time, batch, unit)
``seen``      what a leaky readout sees, before each step and after the last
============  =======================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bioplaus.codegen.folded import Folded, assignments
from bioplaus.codegen.scalar_printer import FUNCTIONS, ScalarPrinter
from bioplaus.codegen.scalars import OPTIONS, Numbers
from bioplaus.symbolic.derive import ACTIVE, HELD, LAST, NOW, RECEPTIVE
from bioplaus.symbolic.text import symbol

#: of a spike: whether its first comparison holds
FIRED = symbol("fired0_")


@dataclass(frozen=True)
class Group:
    """A population, as far as text goes."""

    folded: Folded
    taken: int  # channels and noises
    ages: int
    read: bool  # a leaky readout sees it


@dataclass(frozen=True)
class Link:
    """A recurrent projection: from which population's outputs of which age onto which channels of which."""

    source: int
    target: int
    age: int
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Written:
    """A text, its arguments in order, and the numbers it reads."""

    text: str
    arguments: tuple[str, ...]
    numbers: tuple[np.ndarray, ...]  # of each population
    fields: tuple[np.ndarray, ...]  # (constant, unit), of each population


def forward(groups: Sequence[Group], links: Sequence[Link], full: bool) -> Written:
    """The text of `forward0_`; ``full`` writes down all that there is, else what derivatives need of outputs and u."""
    arguments = ["first0_", "last0_", "kappa0_"]
    numbers, fields, steps = [], [], []
    for p, group in enumerate(groups):
        lines, values, each = _step(p, group, full)
        numbers.append(values)
        fields.append(each)
        steps += lines
        arguments += [f"{name}{p}_" for name in arrays(group)]
    arguments += [f"weights{i}_" for i, _ in enumerate(links)]
    sizes = [f"size{p}_ = said{p}_.shape[2]" for p, _ in enumerate(groups)]
    here = [f"begin{p}_, end{p}_ = first0_*size{p}_, last0_*size{p}_" for p, _ in enumerate(groups)]
    arrived: list[str] = []
    for p, group in enumerate(groups):
        for k in range(group.taken):
            arrived += [f"cur{p}_[{k}, begin{p}_:end{p}_] = drive{p}_[time0_, {k}, begin{p}_:end{p}_]"]
    arrived += _arriving(groups, links)
    most = " + ".join(f"size{p}_" for p, _ in enumerate(groups))
    text = "\n".join(
        [
            *head(),
            f"@nb0_.njit({OPTIONS})",
            f"def forward0_({', '.join(arguments)}):",
            *(f"    {line}" for line in (*sizes, *here)),
            f"    events0_ = np0_.empty({most} + 1, np0_.int32)",
            "    for time0_ in range(drive0_.shape[0]):",
            *(f"        {line}" for line in (*arrived, *steps)),
            "",
        ]
    )
    return Written(text, tuple(arguments), tuple(numbers), tuple(fields))


def arrays(group: Group) -> list[str]:
    """What the loop takes for a population, in order."""
    states = [f"state{i}_" for i, _ in enumerate(group.folded.old)] + [
        f"after{i}_" for i, _ in enumerate(group.folded.old)
    ]
    waiting = ["active", "waiting", "waits"] if group.folded.refractory else []
    return [
        "drive",
        "cur",
        "numbers",
        "fields",
        "said",
        "flat",
        *states,
        *waiting,
        "currents",
        *(["seen"] if group.read else []),
    ]


def head() -> Iterator[str]:
    yield from ("import math as math0_", "", "import numba as nb0_", "import numpy as np0_", "", "")
    for text in FUNCTIONS.values():
        yield from ("@nb0_.njit(error_model='numpy')", text, "", "")


def _arriving(groups: Sequence[Group], links: Sequence[Link]) -> list[str]:
    """Spikes of one step, each with its row of weights, (pre, channel · post).

    Who speaks is listed without a branch, which a processor would guess wrong at every spike.
    """
    lines: list[str] = []
    for q, age in sorted({(link.source, link.age) for link in links}):
        told = [(i, link) for i, link in enumerate(links) if (link.source, link.age) == (q, age)]
        each = []
        for i, link in told:
            for row, channel in enumerate(link.channels):
                p = link.target
                each += [
                    f"into0_ = cur{p}_[{channel}, sample0_*size{p}_:(sample0_ + 1)*size{p}_]",
                    f"from0_ = weights{i}_[pre0_, {row}*size{p}_:{row + 1}*size{p}_]",
                    f"for unit0_ in range(size{p}_):",
                    "    into0_[unit0_] += spoke0_*from0_[unit0_]",
                ]
        lines += [
            "for sample0_ in range(first0_, last0_):",
            f"    speaking0_ = said{q}_[time0_ + {groups[q].ages - 1 - age}, sample0_]",
            "    count0_ = 0",
            f"    for pre0_ in range(size{q}_):",
            "        events0_[count0_] = pre0_",
            "        count0_ += np0_.int64(speaking0_[pre0_] != 0)",
            "    for event0_ in range(count0_):",
            "        pre0_ = events0_[event0_]",
            "        spoke0_ = speaking0_[pre0_]",
            *(f"        {line}" for line in each),
        ]
    return lines


class Rows:
    """Views of one step, so that one number is the only index in the loop over the neurons of all samples."""

    def __init__(self, p: int) -> None:
        self.p, self.lines = p, []

    def __call__(self, array: str, *at: str) -> str:
        """The entry of a neuron in ``array[at]``."""
        view = f"view{len(self.lines)}_"
        self.lines.append(f"{view} = {array}{self.p}_[{', '.join((*at, f'begin{self.p}_:end{self.p}_'))}]")
        return f"{view}[unit0_]"


def _step(p: int, group: Group, full: bool) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The pass over the neurons of a population, the numbers it reads, and those of each neuron."""
    folded, d = group.folded, group.folded.derived
    numbers, row = Numbers(), Rows(p)
    show = ScalarPrinter(folded.numbers, numbers.name).doprint

    def assigned(targets: Sequence[str], expressions: Sequence[Any], prefix: str) -> list[str]:
        return [line.strip() for line in assignments(targets, expressions, prefix, show)]

    now, then = ("time0_", "time0_ + 1") if full else ("0", "0")
    each = [name for name, value in folded.numbers.items() if value.ndim]
    body = [f"{name} = {row('fields', str(i))}" for i, name in enumerate(each)]
    body += [f"{s} = {row(f'state{i}_', now)}" for i, s in enumerate(folded.old)]
    body += [f"{k} = {row('cur', str(i))}" for i, k in enumerate(folded.inputs)]
    body += [f"{LAST} = {row('flat', f'time0_ + {group.ages - 1}')}", f"{HELD} = {LAST}"]
    one, zero = numbers.name(1.0), numbers.name(0.0)
    if folded.refractory:
        body += [f"wait0_ = {row('waiting', now)}", f"{RECEPTIVE} = {one} if wait0_ == {zero} else {zero}"]
        if folded.waits is None:
            body.append(f"wait0_ = max(wait0_ - {one}, {zero})")
        else:
            body += [*assigned(["holds0_"], [folded.waits], "w"), "wait0_ = wait0_*holds0_"]
        body.append(f"{ACTIVE} = {one} if wait0_ == {zero} else {zero}")
    u, s = [str(x) for x in folded.new], [f"new_{state}" for state in d.states]
    body += assigned(u, folded.f, "f")
    if d.spiking:
        body += assigned(["margin0_"], [folded.output], "m")
        body.append(f"{FIRED} = {one} if margin0_ {'>=' if d.closed else '>'} {zero} else {zero}")
        spike = (folded.floor + folded.gate * FIRED) * (ACTIVE if folded.refractory else 1)
        body += assigned([str(NOW)], [spike], "y")
    else:
        body += assigned([str(NOW)], [folded.output], "m")
    body += assigned(s, folded.r, "r")
    body.append(f"{row('flat', f'time0_ + {group.ages}')} = {NOW}")
    body += [f"{row(f'state{i}_', then)} = {name}" for i, name in enumerate(s)]
    body += [f"{row(f'after{i}_', 'time0_')} = {name}" for i, name in enumerate(u)]
    if folded.refractory:
        body.append(f"{row('active', 'time0_')} = {ACTIVE}")
        body.append(f"{row('waiting', then)} = wait0_ + {NOW}*{row('waits')}")
    if full:
        body += [f"{row('currents', str(i), 'time0_')} = {k}" for i, k in enumerate(folded.inputs)]
    if group.read:
        before, behind = row("seen", "time0_"), row("seen", "time0_ + 1")
        body.append(f"{behind} = {NOW} + kappa0_*({before} - {NOW})")
    loads = numbers.loads(f"numbers{p}_")
    fields = np.array([folded.numbers[name] for name in each]) if each else np.empty((0, 0))
    return (
        [*loads, *row.lines, f"for unit0_ in range(end{p}_ - begin{p}_):", *(f"    {line}" for line in body)],
        np.array(numbers.values),
        fields,
    )
