"""What stands where other arms have a task: an environment by its name, or what makes one. Light to import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from bioplaus import checks
from bioplaus.errors import TaskError, meant
from bioplaus.reward.gym import gym

#: what may be given for an environment
WANTED = "a Gymnasium environment: its name, such as 'CartPole-v1', 'delayed_cue', or a function that makes one"


@dataclass(frozen=True)
class Environment:
    """An environment of Gymnasium's.

    Parameters
    ----------
    made : ``"delayed_cue"``, the name of one that is registered, or a function or class that makes one.

    Raises
    ------
    TaskError
        For a name that nobody knows.
    """

    made: Any

    score_name = "return"
    higher_is_better = True
    dt = None

    def __post_init__(self) -> None:
        if not (isinstance(self.made, str) or callable(self.made)):
            if hasattr(self.made, "reset") and hasattr(self.made, "step"):
                raise TaskError(
                    f"environment is {type(self.made).__name__}(…), one that is made already, and a batch of episodes needs one for each: give what makes it, "
                    f"such as {type(self.made).__name__} or lambda: {type(self.made).__name__}(…)."
                )
            raise checks.refusal(TaskError, "environment", self.made, WANTED)
        _ = self.make

    @property
    def name(self) -> str:
        """What it is called."""
        named = self.made.func if isinstance(self.made, partial) else self.made
        return named if isinstance(named, str) else getattr(named, "__name__", type(named).__name__)

    @cached_property
    def steps(self) -> int:
        """Of an episode, at most; 0: nobody knows."""
        one = self.make()
        spec = getattr(one, "spec", None)
        return int(getattr(one, "steps", 0) or getattr(spec, "max_episode_steps", 0) or 0)

    @property
    def make(self) -> Callable[[], Any]:
        """What makes one."""
        if self.made == "delayed_cue":
            from bioplaus.reward.delayed_cue import DelayedCue

            return DelayedCue
        if not isinstance(self.made, str):
            return self.made
        gymnasium, name = gym(), self.made
        try:
            gymnasium.spec(name)
        except Exception as error:
            raise TaskError(
                f"Gymnasium knows no environment '{name}' ({error}).{meant(name, (*gymnasium.registry, 'delayed_cue'))} Besides those that are registered with it "
                "there is 'delayed_cue'; any other is given as what makes it."
            ) from None
        return lambda: gymnasium.make(name)
