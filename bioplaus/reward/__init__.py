"""Learning from rewards: environments behind Gymnasium's interface, and an actor–critic that learns by e-prop's traces."""

from typing import TYPE_CHECKING

from bioplaus.reward.agent import Agent
from bioplaus.reward.environment import Environment

if TYPE_CHECKING:
    from bioplaus.reward.delayed_cue import DelayedCue

__all__ = ["Agent", "DelayedCue", "Environment"]


def __getattr__(name: str) -> object:
    if name == "DelayedCue":  # asks for gymnasium, which not everybody has
        from bioplaus.reward.delayed_cue import DelayedCue

        return DelayedCue
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
