"""The predictors that have a name; what one is stands in `bioplaus.cerebellum.base`."""

from __future__ import annotations

import inspect
from typing import Any

from bioplaus import checks
from bioplaus.cerebellum.areas import Areas
from bioplaus.cerebellum.base import Predictor, born
from bioplaus.cerebellum.critic import Critic
from bioplaus.cerebellum.granule import Granule
from bioplaus.cerebellum.linear import Linear, last_layer
from bioplaus.cerebellum.mlp import MLP
from bioplaus.cerebellum.module import Module
from bioplaus.cerebellum.seen import Seen
from bioplaus.errors import RuleError, by_name, unknown

__all__ = [
    "MLP",
    "PREDICTOR",
    "PREDICTORS",
    "Areas",
    "Critic",
    "Granule",
    "Linear",
    "Module",
    "Predictor",
    "Seen",
    "born",
    "last_layer",
    "predictor",
]

PREDICTORS: dict[str, type[Predictor]] = {
    "linear": Linear,
    "mlp": MLP,
    "areas": Areas,
    "critic": Critic,
    "module": Module,
    "granule": Granule,
}

#: what a rule's ``predictor`` must be
PREDICTOR = checks.Optional(checks.Instance(Predictor, "bp.predictor('mlp')"), "for the circuit's own")


def predictor(name: str, *given: Any, **options: Any) -> Predictor:
    """A predictor by name: ``linear``, ``mlp``, ``areas``, ``critic``, ``module``, ``granule``; what it is made of (``of``) may be a name, too.

    Raises
    ------
    RuleError
        For an unknown name or option.
    """
    checks.accept(RuleError, "The name of a predictor", name, checks.Word(PREDICTORS))
    if given:
        raise RuleError(by_name(f"bp.predictor({name!r}, …)", given))
    allowed = inspect.signature(PREDICTORS[name]).parameters
    for option in options:
        if option not in allowed:
            raise RuleError(unknown(f"option of the predictor '{name}'", option, allowed))
    if isinstance(options.get("of"), str):
        options["of"] = predictor(options["of"])
    return PREDICTORS[name](**options)
