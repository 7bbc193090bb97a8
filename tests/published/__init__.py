"""Published models, whose texts go into a `bioplaus.Cell` as they stand and give plain Brian2's spikes."""

from . import adaptive, conductances, integrate_and_fire, membranes, noisy, rates, receptors, spike_and_reset
from .compare import Outcome, compare
from .model import Published
from .plain import plain

MODULES = (integrate_and_fire, adaptive, spike_and_reset, conductances, membranes, receptors, noisy, rates)
MODELS: dict[str, Published] = {model.name: model for module in MODULES for model in module.MODELS}

__all__ = ["MODELS", "MODULES", "Outcome", "Published", "compare", "plain"]
