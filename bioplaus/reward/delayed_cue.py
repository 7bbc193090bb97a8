"""A cue, a delay, a choice, and after another delay its reward: what must be remembered is which cue it was, and what was done.

Steps of an episode::

    0 … cue − 1            the cue's side, left or right, is 1
    … + delay              nothing
    then, for one step     go is 1; the action taken here is the choice
    … + wait               nothing; the last action brings the reward: 1 for the cue's side, −1 else

Actions at other steps have no effect.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.reward.gym import gym

gym()  # in words, if it is not there
import gymnasium  # noqa: E402


class DelayedCue(gymnasium.Env[np.ndarray, int]):
    """Gymnasium's environment of one agent.

    Observations are (left, right, go), each 0 or 1; actions 0 (left) and 1 (right).

    Parameters
    ----------
    cue, delay, wait : numbers of steps that the cue lasts, that lie between it and go, and from the choice to its reward.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  # Gymnasium's own

    def __init__(self, cue: int = 2, delay: int = 5, wait: int = 3) -> None:
        self.cue, self.delay, self.wait = cue, delay, wait
        for name in ("cue", "delay", "wait"):
            setattr(
                self,
                name,
                checks.accept(
                    TaskError, f"{name} of DelayedCue", getattr(self, name), checks.Whole(int(name == "cue"))
                ),
            )
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (3,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)  # type: ignore[assignment]
        self._step = self._side = 0
        self._chosen: int | None = None

    @property
    def steps(self) -> int:
        """Of an episode."""
        return self.cue + self.delay + 1 + self.wait

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a side; the first observation."""
        super().reset(seed=seed)
        self._side, self._step, self._chosen = int(self.np_random.integers(2)), 0, None
        return self._seen(), {"side": self._side}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Act on what was seen last."""
        if self._step == self.cue + self.delay:
            self._chosen = int(action)
        self._step += 1
        over = self._step == self.steps
        reward = (1.0 if self._chosen == self._side else -1.0) if over else 0.0
        return self._seen(), reward, over, False, {"side": self._side}

    def _seen(self) -> np.ndarray:
        seen = np.zeros(3, np.float32)
        if self._step < self.cue:
            seen[self._side] = 1
        elif self._step == self.cue + self.delay:
            seen[2] = 1
        return seen
