"""Several copies of an environment that go side by side, episode by episode."""

from __future__ import annotations

from typing import Any

import numpy as np

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.reward.environment import WANTED, Environment
from bioplaus.reward.gym import gym
from bioplaus.streams import stream


class Episodes:
    """``batch`` copies of an environment with discrete actions; what is seen are numbers, one for each, or one for each place of a discrete space.

    Attributes
    ----------
    size, actions : how many numbers are seen, how many actions there are.
    """

    def __init__(self, made: Environment, batch: int) -> None:
        gymnasium = gym()
        self.batch = batch
        self.each = [made.make() for _ in range(batch)]
        first = self.each[0]
        if not all(hasattr(first, part) for part in ("reset", "step", "observation_space", "action_space")):
            raise checks.refusal(TaskError, "environment", made.made, WANTED)
        space, acts = first.observation_space, first.action_space
        if not isinstance(acts, gymnasium.spaces.Discrete):
            raise TaskError(
                f"The environment acts in {acts}; an actor with one output for each action needs a Discrete space."
            )
        self.first, self.actions = int(acts.start), int(acts.n)
        if isinstance(space, gymnasium.spaces.Discrete):
            self.size, self._places = int(space.n), int(space.start)
        elif isinstance(space, gymnasium.spaces.Box) and space.shape:
            self.size, self._places = int(np.prod(space.shape)), None
        else:
            raise TaskError(
                f"The environment shows {space}; numbers (Box) or one of several places (Discrete) are needed."
            )

    def reset(self, seed: int, occasion: str) -> np.ndarray:
        """All episodes anew, each from a seed of its own that the occasion decides: what is seen, (batch, size)."""
        seeds = stream(seed, f"episodes of {occasion}").initial_seed() % 2**31
        return np.stack([self._numbers(env.reset(seed=int(seeds) + i)[0]) for i, env in enumerate(self.each)])

    def step(self, actions: np.ndarray, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is seen then, the reward, and whether it is over; of those that are over already zeros."""
        seen, reward, over = np.zeros((self.batch, self.size)), np.zeros(self.batch), ~alive
        for i in np.flatnonzero(alive):
            x, gained, ended, cut, _ = self.each[i].step(self.first + int(actions[i]))
            seen[i], reward[i], over[i] = self._numbers(x), gained, ended or cut
        return seen, reward, over

    def _numbers(self, x: Any) -> np.ndarray:
        if self._places is None:
            return np.asarray(x, dtype=float).ravel()
        return np.eye(self.size)[int(x) - self._places]
