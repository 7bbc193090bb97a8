"""A cell's step with somebody interfering: the same expressions with switches in them, which stand among its noises.

A switch q is 0 or 1 and given in every step, as the normal numbers of noise are; no weight has a part in it. Everything that rules need is
derived from these expressions, so that no rule knows of any of it::

    clamp     u_j = (1 − q) f_j + q V                        F_j, E_j, G_j times 1 − q
    cut       I_k + (1 − q) I'_k in the place of I_k         I' is what a projection brings that may be cut; G'_k = (1 − q) G_k
    silence   what is sent is (1 − q) y, and (1 − q) z;      ψ, Zu times 1 − q;  Ru + q ry ψ in the place of Ru:
              the neuron itself goes by y                    what happens inside by its own output, does

A cell that looks back at its own last output y₋ is given what it has sent and what it has not: the state ``UNSENT``, q y. The derivative
through that is the one through y₋: F_i,unsent = E_i, Ru_unsent,j = q ψ_j.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bioplaus.symbolic.derive import HELD, LAST, NOW, ONE, ZERO, Derived, after
from bioplaus.symbolic.text import substituted, symbol

#: of a silenced neuron: what it would have sent in its last step
UNSENT = "unsent0_"


def clamped(d: Derived, state: str, switch: str, value: str) -> Derived:
    """A state is held at ``value`` where ``switch`` is 1, both among the noises now."""
    i, q = d.states.index(state), symbol(switch)
    free = ONE - q

    def row(rows: Any, change: Any) -> Any:
        return (*rows[:i], change(rows[i]), *rows[i + 1 :])

    return replace(
        d,
        f=row(d.f, lambda e: free * e + q * symbol(value)),
        F=row(d.F, lambda es: tuple(free * e for e in es)),
        E=row(d.E, lambda e: free * e),
        G=row(d.G, lambda es: tuple(free * e for e in es)),
        noises=(*d.noises, switch, value),
    )


def gated(d: Derived, channel: int, switch: str) -> Derived:
    """One more input channel, the last, which brings what ``channel`` does, and nothing where ``switch`` is 1; the switch has to be among the noises."""
    name, free = d.inputs[channel], ONE - symbol(switch)
    other = f"{name}_gated{len(d.inputs)}_"
    both = {symbol(name): symbol(name) + free * symbol(other)}

    def swapped(e: Any) -> Any:
        return tuple(map(swapped, e)) if isinstance(e, tuple) else substituted(e, both)

    return replace(
        d,
        inputs=(*d.inputs, other),
        f=swapped(d.f),
        F=swapped(d.F),
        E=swapped(d.E),
        G=tuple((*row, free * row[channel]) for row in swapped(d.G)),
        begins=swapped(d.begins),
        waits=None if d.waits is None else swapped(d.waits),
    )


def switched(d: Derived, *names: str) -> Derived:
    """More switches among the noises, which nothing reads yet."""
    return replace(d, noises=(*d.noises, *names))


def silenced(d: Derived, switch: str) -> Derived:
    """Nothing is sent where ``switch``, among the noises now, is 1; `UNSENT` is the last state.

    What is sent is multiplied by 1 − q where it leaves the neuron (`bioplaus.circuit.network.Network.advance`), and NOW, in all that is
    said here of the neuron itself, is its own output.
    """
    q, S = symbol(switch), range(len(d.states))
    free, unsent = ONE - q, symbol(UNSENT)
    both = {LAST: LAST + unsent, HELD: HELD + unsent}

    def own(e: Any) -> Any:
        return tuple(map(own, e)) if isinstance(e, tuple) else substituted(e, both)

    E = own(d.E)
    nothing = (ZERO,) * (len(S) + 1)
    return replace(
        d,
        states=(*d.states, UNSENT),
        f=(*own(d.f), q),
        r=(*d.r, after(UNSENT) * NOW),
        F=(*((*row, e) for row, e in zip(own(d.F), E, strict=True)), nothing),
        E=(*E, ZERO),
        G=(*own(d.G), (ZERO,) * len(d.inputs)),
        psi=(*(free * e for e in d.psi), ZERO),
        Ru=(
            *(
                (*(e + q * through * slope for e, slope in zip(row, d.psi, strict=True)), ZERO)
                for row, through in zip(d.Ru, d.ry, strict=True)
            ),
            (*(q * slope for slope in d.psi), ZERO),
        ),
        ry=(*d.ry, ZERO),
        Zu=tuple((*(free * e for e in row), ZERO) for row in d.Zu),
        live=(*d.live, *([UNSENT] if any(e != 0 for e in E) else [])),
        kept=d.kept | ({UNSENT} if any(e != 0 for e in E) else frozenset()),
        begins=own(d.begins),
        waits=None if d.waits is None else own(d.waits),
        noises=(*d.noises, switch),
    )
