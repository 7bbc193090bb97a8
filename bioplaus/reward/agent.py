"""An agent: a circuit, an environment, a rule, and how it learns from rewards. Light to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.reward.environment import Environment
from bioplaus.runs.arm import Arm
from bioplaus.runs.folder import RECORDINGS
from bioplaus.runs.initial import initial_weights
from bioplaus.runs.sources import with_code

if TYPE_CHECKING:
    import xarray

    from bioplaus.reward.actor_critic import ActorCritic

#: of a `bioplaus.Training`, what an agent has no use for
OTHERS = (
    "rate_strength",
    "voltage_strength",
    "align_every",
    "curriculum",
    "perturb",
    "apply",
    "backend",
    "threads",
    "loss_per",
)


@dataclass(frozen=True, repr=False)
class Agent(Arm):
    """An arm of an experiment that learns from rewards, by an actor and a critic in one circuit (`bioplaus.reward.actor_critic`).

    Parameters
    ----------
    circuit : with an input for every number that the environment shows, and an output for every action and one for the value.
    task : the environment: ``"delayed_cue"``, the name of one of Gymnasium's, or a function that makes one.
    rule : whose traces and feedback are used: eprop or rflo.
    training : updates, batch (episodes at a time), learning rates, optimiser, clip, evaluate_every.
    discount, lmbda : γ and λ.
    value : c_V, the weight of the critic.
    entropy : of a bonus for undecided policies.
    hold : time steps of the circuit for one of the environment.
    traces : whether synapses remember what they did before this step.

    Raises
    ------
    RunError, RuleError, TaskError

    Examples
    --------
    >>> import bioplaus as bp
    >>> circuit = bp.circuit("recurrent", cell="leaky_rate", inputs=3, units=20, outputs=3)
    >>> agent = bp.reward.Agent(circuit, "delayed_cue", "eprop", bp.Training(updates=2, batch=4))
    >>> learner = agent.begin(seed=0)
    >>> sorted(learner.update())
    ['loss', 'rate', 'score', 'seconds', 'update']
    """

    task: Any
    discount: float = 0.95
    lmbda: float = 0.9
    value: float = 0.5
    entropy: float = 0.0
    hold: int = 1
    traces: bool = True
    constraints = checks.Table(
        RunError,
        "of an agent",
        discount=checks.Real(least=0, most=1),
        lmbda=checks.Real(least=0, most=1),
        value=checks.Real(least=0),
        entropy=checks.Real(least=0),
        hold=checks.Whole(),
        traces=checks.Flag(),
    )

    def __post_init__(self) -> None:
        from bioplaus.circuit import Circuit
        from bioplaus.learning.training import Training
        from bioplaus.rules import as_rule

        checks.settle(self)
        if self.phases:
            raise RunError(
                "An agent learns in one phase. Leave phases out, and go on from a finished run with initial=."
            )
        object.__setattr__(self, "initial", initial_weights(self.initial))
        if not isinstance(self.circuit, Circuit):
            raise checks.refusal(
                RunError, "circuit of an agent", self.circuit, "one that bp.circuit('recurrent', cell=…) makes"
            )
        training = Training() if self.training is None else self.training
        if not isinstance(training, Training):
            raise checks.refusal(RunError, "training of an agent", training, "a bp.Training(updates=…, lr=…), or None")
        plain = {f.name: f.default for f in fields(Training)}
        if idle := [name for name in OTHERS if getattr(training, name) != plain[name]]:
            raise RunError(
                f"The training of an agent has {idle[0]}={getattr(training, idle[0])!r}, which learning from rewards does not know. Leave it out."
            )
        if training.optimiser in ("es", "guided_es"):
            raise RunError(
                f"The training of an agent has optimiser='{training.optimiser}', which asks for the loss of a batch at other weights, and an agent's episodes go otherwise at other "
                "weights: there is no such batch. Take an optimiser that goes by gradients, such as 'adam'."
            )
        if not isinstance(self.task, Environment):
            object.__setattr__(self, "task", Environment(self.task))
        object.__setattr__(self, "rule", as_rule(self.rule))
        object.__setattr__(self, "training", training)
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.init and f.name not in ("phases", "initial")}
        if self.initial:
            parts["initial"] = self.initial
        object.__setattr__(self, "_described", with_code(parts))

    def __repr__(self) -> str:
        return f"Agent({self.task.name} by {self.rule.name}, {self.training!r})"

    @property
    def files(self) -> Mapping[str, Callable[[Any], xarray.Dataset]]:
        """The circuit along the episodes of a test."""
        return {RECORDINGS: lambda learner: learner.record()}

    def begin(self, seed: int) -> ActorCritic:  # type: ignore[override]
        """The learner before its first episode.

        Raises
        ------
        BioplausError
            If circuit, environment and rule do not fit.
        """
        from bioplaus.reward.actor_critic import ActorCritic

        return ActorCritic(self, seed)
