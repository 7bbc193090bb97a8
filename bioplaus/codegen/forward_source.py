"""Text of a circuit's step, fused over time: one loop nest in which spikes are events.

For every step, of the samples from ``first`` to before ``last`` (their neurons stand in one row)::

    I_p = what is known before the step (input, bias, noise), and for each spike that arrives, its row of weights; where weights move at every
          step, input arrives as spikes do
    u, y, s of every neuron in one pass, as its cell's expressions have it (`bioplaus.codegen.folded`)

What is looked at later is written down, (time, batch, unit), outputs with those of before the first step in front:

============  =======================================================================
``said``      outputs, (ages + time, batch, unit)
``sent``      the same of each thing that is sent beside them
``state``     states before each step, and after the last; or the present ones alone
``after``     states after the integrator; or the last alone
``active``    1, or 0 where a neuron was refractory; or the last alone
``waiting``   steps left in its refractory period, as ``state``
``currents``  of each channel, (channel, time, batch, unit)
``seen``      what a leaky readout sees, before each step and after the last
============  =======================================================================

Where weights move at every step, a step is followed by what is asked of it at once: the readout's output, Σ over steps of what each neuron
of each sample says (``tally``), and whether all is finite: ``fault`` (batch,) is 0, or no number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from bioplaus.codegen.folded import Folded, assignments
from bioplaus.codegen.scalar_printer import FUNCTIONS, ScalarPrinter
from bioplaus.codegen.scalars import OPTIONS, Numbers
from bioplaus.symbolic.derive import ACTIVE, HELD, LAST, NOW, RECEPTIVE
from bioplaus.symbolic.text import substituted, symbol

#: of a spike: whether its first comparison holds
FIRED = symbol("fired0_")


#: how much is written down: outputs; u and refractoriness as well, from which most cells' derivatives follow; states and currents as well
Keep: TypeAlias = Literal["outputs", "u", "all"]

#: in the place of a population, as the source of a link: the circuit's input lines
LINES = -1

#: what is told to a loop that computes the readout's output too: input lines, the readout's weights and bias, and where to
READ = ("told0_", "readout0_", "shift0_", "out0_", "fault0_")

#: spikes whose rows of weights are added in one pass  # measured: 1, 2, 4, 8
TOGETHER = 4

#: so many spikes before it is added, a row of synapses is asked for  # measured: 1, 3, 6
AHEAD = 3

#: brings what stands at a place of an array into the cache while something else is done: of a large network each row has to come from memory
SOON = """
import llvmlite.ir as ir0_
import numba.extending as extending0_


@extending0_.intrinsic
def soon0_(typing0_, array0_, at0_):
    def made0_(context0_, builder0_, signature0_, given0_):
        word0_, byte0_ = ir0_.IntType(32), ir0_.IntType(8).as_pointer()
        data0_ = context0_.make_array(signature0_.args[0])(context0_, builder0_, given0_[0]).data
        place0_ = builder0_.bitcast(builder0_.gep(data0_, [given0_[1]]), byte0_)
        kind0_ = ir0_.FunctionType(ir0_.VoidType(), [byte0_, word0_, word0_, word0_])
        called0_ = builder0_.module.declare_intrinsic("llvm.prefetch", [byte0_], kind0_)
        builder0_.call(called0_, [place0_, word0_(0), word0_(3), word0_(1)])  # to be read, to be kept, data
        return context0_.get_dummy_value()

    return nb0_.void(array0_, at0_), made0_
""".strip().splitlines()
#: bytes that come at once
LINE = 64


@dataclass(frozen=True)
class Group:
    """A population, as far as text goes."""

    folded: Folded
    taken: int  # channels and noises
    ages: int
    read: bool  # a leaky readout sees it

    @property
    def beside(self) -> range:
        """What is sent beside the output, by number."""
        return range(len(self.folded.sends))

    def said(self, slot: int) -> tuple[str, int]:
        """The array that holds a slot of what is kept, and by how many steps it is behind."""
        age, voice = divmod(slot, 1 + len(self.beside))
        return ("said" if voice == 0 else f"sent{voice - 1}_"), self.ages - 1 - age


@dataclass(frozen=True)
class Link:
    """A projection: from which slots of what a population keeps of its outputs, or from the circuit's input lines, onto which channels of which; whether one value a synapse is kept."""

    source: int  # or LINES
    target: int
    slots: tuple[int, ...]
    channels: tuple[int, ...]
    sparse: bool = False


@dataclass(frozen=True)
class Written:
    """A text, its arguments in order, and the numbers it reads."""

    text: str
    arguments: tuple[str, ...]
    numbers: tuple[np.ndarray, ...]  # of each population
    fields: tuple[np.ndarray, ...]  # (constant, unit), of each population


def forward(groups: Sequence[Group], links: Sequence[Link], keep: Keep, sources: Sequence[int] = ()) -> Written:
    """The text of `forward0_`, which writes down as much as ``keep`` says.

    ``sources`` are the populations that the readout sees, where its output is computed too; then ``told0_`` are input lines (time, batch, input),
    which links may read.
    """
    arguments = ["first0_", "last0_", "kappa0_", *(READ if sources else ())]
    numbers, fields, steps = [], [], []
    for p, group in enumerate(groups):
        lines, values, each = _step(p, group, keep, bool(sources))
        numbers.append(values)
        fields.append(each)
        steps += lines
        arguments += [f"{name}{p}_" for name in (*arrays(group), *(["tally"] if sources else []))]
    arguments += [f"{name}{i}_" for i, link in enumerate(links) for name in given(link)]
    sizes = [f"size{p}_ = said{p}_.shape[2]" for p, _ in enumerate(groups)]
    here = [f"begin{p}_, end{p}_ = first0_*size{p}_, last0_*size{p}_" for p, _ in enumerate(groups)]
    arrived: list[str] = []
    for p, group in enumerate(groups):
        for k in range(group.taken):
            arrived += [f"cur{p}_[{k}, begin{p}_:end{p}_] = drive{p}_[time0_, {k}, begin{p}_:end{p}_]"]
    arrived += _arriving(groups, links)
    most = " + ".join([*(f"size{p}_" for p, _ in enumerate(groups)), *(["told0_.shape[2]"] if sources else [])])
    text = "\n".join(
        [
            *head(),
            *([*SOON, "", ""] if any(link.sparse for link in links) else []),
            f"@nb0_.njit({OPTIONS})",
            f"def forward0_({', '.join(arguments)}):",
            *(f"    {line}" for line in (*sizes, *here)),
            f"    events0_ = np0_.empty({most} + 1, np0_.int32)",
            "    nothing0_ = kappa0_ - kappa0_",
            *(["    broken0_ = nothing0_"] if sources else []),
            "    for time0_ in range(drive0_.shape[0]):",
            *(f"        {line}" for line in (*arrived, *steps, *_read(groups, sources))),
            *(["    fault0_[first0_:last0_] = broken0_"] if sources else []),
            "",
        ]
    )
    return Written(text, tuple(arguments), tuple(numbers), tuple(fields))


def given(link: Link) -> list[str]:
    """What the loop takes for a projection: rows of weights, (pre, channel · post); or (channel, synapse), where each source's begin, and whither they go."""
    return ["weights", "begins", "onto"] if link.sparse else ["weights"]


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
        *(f"sent{i}_" for i in group.beside),
        *(f"level{i}_" for i in group.beside),
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
    """Spikes of one step, each with its row of weights, (pre, channel · post), `TOGETHER` at a time.

    Who speaks is listed without a branch, which a processor would guess wrong at every spike.
    """
    lines: list[str] = []
    each = range(TOGETHER)
    for q, slot in sorted({(link.source, slot) for link in links for slot in link.slots}):
        told = [(i, link) for i, link in enumerate(links) if link.source == q and slot in link.slots]
        dense, sparse, soon = [], [], []
        for i, link in told:
            p = link.target
            block = f"{at}*size{q}_ + " if (at := link.slots.index(slot)) else ""
            if link.sparse:
                soon += _soon(i, link, f"{block}ahead0_")
            for row, channel in enumerate(link.channels):
                into = f"into0_ = cur{p}_[{channel}, sample0_*size{p}_:(sample0_ + 1)*size{p}_]"
                if link.sparse:
                    sparse += [
                        into,
                        f"from0_ = weights{i}_[{row}]",
                        f"for synapse0_ in range(begins{i}_[{block}pre0_], begins{i}_[{block}pre0_ + 1]):",
                        f"    into0_[onto{i}_[synapse0_]] += spoke0_*from0_[synapse0_]",
                    ]
                else:
                    terms = " + ".join(f"spoke{k}_*from{k}_[unit0_]" for k in each)
                    dense += [
                        into,
                        *(f"from{k}_ = weights{i}_[pre{k}_, {row}*size{p}_:{row + 1}*size{p}_]" for k in each),
                        f"for unit0_ in range(size{p}_):",
                        f"    into0_[unit0_] += {terms}",
                    ]
        if q == LINES:
            speaking, many = "told0_[time0_, sample0_]", "told0_.shape[2]"
        else:
            array, behind = groups[q].said(slot)
            speaking, many = f"{array}{q}_[time0_ + {behind}, sample0_]", f"size{q}_"
        lines += [
            "for sample0_ in range(first0_, last0_):",
            f"    speaking0_ = {speaking}",
            "    count0_ = 0",
            f"    for pre0_ in range({many}):",
            "        events0_[count0_] = pre0_",
            "        count0_ += np0_.int64(speaking0_[pre0_] != 0)",
        ]
        if dense:
            lines += [
                f"    for event0_ in range(0, count0_, {TOGETHER}):",
                "        left0_ = count0_ - event0_",
                *(f"        pre{k}_ = events0_[event0_ + {k}] if left0_ > {k} else events0_[event0_]" for k in each),
                *(f"        spoke{k}_ = speaking0_[pre{k}_] if left0_ > {k} else nothing0_" for k in each),
                *(f"        {line}" for line in dense),
            ]
        if sparse:
            lines += [
                "    for event0_ in range(count0_):",
                f"        ahead0_ = events0_[min(event0_ + {AHEAD}, count0_ - 1)]",
                *(f"        {line}" for line in soon),
                "        pre0_ = events0_[event0_]",
                "        spoke0_ = speaking0_[pre0_]",
                *(f"        {line}" for line in sparse),
            ]
    return lines


def _soon(i: int, link: Link, begin: str) -> list[str]:
    """Ask for the row of a source that is coming, which begins where ``begin`` says; `LINE` bytes come at once."""
    each = f"for synapse0_ in range(begins{i}_[{begin}], begins{i}_[{begin} + 1], {LINE}//%s.itemsize):"
    lines = [each % f"onto{i}_", f"    soon0_(onto{i}_, synapse0_)"]
    for row, _ in enumerate(link.channels):
        lines += [f"from0_ = weights{i}_[{row}]", each % "from0_", "    soon0_(from0_, synapse0_)"]
    return lines


def _read(groups: Sequence[Group], sources: Sequence[int]) -> list[str]:
    """The readout's output at a step, of all sources side by side."""
    if not sources:
        return []
    lines, column = [], "0"
    for p in sources:
        seen = f"seen{p}_[time0_ + 1" if groups[p].read else f"flat{p}_[time0_ + {groups[p].ages}"
        lines += [
            f"from0_ = readout0_[output0_, {column}:{column} + size{p}_]",
            f"into0_ = {seen}, sample0_*size{p}_:(sample0_ + 1)*size{p}_]",
            f"for unit0_ in range(size{p}_):",
            "    total0_ += from0_[unit0_]*into0_[unit0_]",
        ]
        column += f" + size{p}_"
    return [
        "for sample0_ in range(first0_, last0_):",
        "    for output0_ in range(out0_.shape[2]):",
        "        total0_ = shift0_[output0_]",
        *(f"        {line}" for line in lines),
        "        out0_[time0_, sample0_, output0_] = total0_",
        "        broken0_ += nothing0_*total0_",
    ]


class Rows:
    """Views of one step, so that one number is the only index in the loop over the neurons of all samples.

    What stands in one place is one view: of two a compiler would think that they might overlap, and take neurons one by one.
    """

    def __init__(self, p: int) -> None:
        self.p = p
        self._views: dict[str, str] = {}

    def __call__(self, array: str, *at: str) -> str:
        """The entry of a neuron in ``array[at]``."""
        place = f"{array}{self.p}_[{', '.join((*at, f'begin{self.p}_:end{self.p}_'))}]"
        return f"{self._views.setdefault(place, f'view{len(self._views)}_')}[unit0_]"

    @property
    def lines(self) -> list[str]:
        return [f"{view} = {place}" for place, view in self._views.items()]


def _step(p: int, group: Group, keep: Keep, read: bool) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The pass over the neurons of a population, the numbers it reads, and those of each neuron."""
    folded, d = group.folded, group.folded.derived
    numbers, row = Numbers(), Rows(p)
    show = ScalarPrinter(folded.numbers, numbers.name).doprint

    def assigned(targets: Sequence[str], expressions: Sequence[Any], prefix: str) -> list[str]:
        return [line.strip() for line in assignments(targets, expressions, prefix, show)]

    full = keep == "all"
    now, then = ("time0_", "time0_ + 1") if full else ("0", "0")
    at = "0" if keep == "outputs" else "time0_"
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
    settled = {old: symbol(new) for old, new in zip(folded.old, s, strict=True)}
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
    if folded.sends:
        sent = [f"sent{i}_" for i in group.beside]
        body += assigned(sent, [substituted(e, settled) for e in folded.sends], "z")
        body += [f"{row(f'level{i}_', f'time0_ + {group.ages}')} = {name}" for i, name in enumerate(sent)]
    body += [f"{row(f'state{i}_', then)} = {name}" for i, name in enumerate(s)]
    body += [f"{row(f'after{i}_', at)} = {name}" for i, name in enumerate(u)]
    if folded.refractory:
        body.append(f"{row('active', at)} = {ACTIVE}")
        body.append(f"{row('waiting', then)} = wait0_ + {NOW}*{row('waits')}")
    if full:
        body += [f"{row('currents', str(i), 'time0_')} = {k}" for i, k in enumerate(folded.inputs)]
    if read:
        body.append(f"{row('tally')} += {NOW}")
        body += [f"broken0_ += nothing0_*{name}" for name in u]
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
