"""By what a circuit's time steps are computed: torch, or loops that numba compiles (`bioplaus.circuit.fused`).

Both compute the same to rounding. ``auto`` follows from what is asked alone, never from what was compiled before: a run that goes on, or
is done again, computes as it did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bioplaus import checks
from bioplaus.errors import CircuitError

if TYPE_CHECKING:
    from bioplaus.circuit.network import Network

BACKENDS = ("auto", "torch", "numba")
#: of work below which nobody should wait for a compiler: steps one after the other, and steps of all neurons and samples
#: chosen: torch takes some ten seconds for either, and so do, at worst, compilations
STEPS, NEURONS = 100_000, 1_000_000_000


class Choice(NamedTuple):
    """What computes time steps, and why not the other."""

    name: str
    because: str


def choice(asked: str, network: Network, steps: int, batch: int) -> Choice:
    """``"torch"`` or ``"numba"``, for so many steps one after the other, of so many samples.

    Raises
    ------
    CircuitError
        For another word, and for numba where the network has no fused loops.
    """
    from bioplaus.circuit.fused import reason

    asked = checks.accept(CircuitError, "backend", asked, checks.Word(BACKENDS))
    if asked == "torch":
        return Choice("torch", "asked for")
    why = reason(network)
    if asked == "numba":
        if why:
            raise CircuitError(
                f"backend='numba' can't serve this circuit: {why}. Leave backend out, or write backend='torch'."
            )
        return Choice("numba", "asked for")
    if why:
        return Choice("torch", why)
    neurons = sum(p.size for p in network.populations)
    work = f"{steps:_} steps one after the other, of {batch:_} samples of {neurons:_} neurons"
    if steps >= STEPS or steps * batch * neurons >= NEURONS:
        return Choice("numba", f"{work}, are so much work that compiling pays")
    return Choice("torch", f"{work}, are less work than compiling; backend='numba' compiles all the same")
