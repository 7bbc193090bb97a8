"""Any torch module as a predictor: g(h; θ) = module(h), θ its parameters.

A factory makes the module for the sizes that the circuit has; its parameters become the rule's own learned tensors, under their names, and its buffers
fixed ones. It runs as in evaluation (no dropout, no statistics of the batch), so that the same state is always answered alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.cerebellum.differentiated import Differentiated
from bioplaus.cerebellum.seen import Seen
from bioplaus.errors import RuleError
from bioplaus.own import Own

if TYPE_CHECKING:
    from torch import Tensor

#: among the fixed tensors one without numbers, whose shape is (inputs, outputs, 0)
_SIZES = "sizes"


@dataclass(frozen=True)
class Module(Differentiated):
    """What a torch module says of the state.

    Parameters
    ----------
    module : a function (inputs, outputs) → `torch.nn.Module` that maps (…, inputs) to (…, outputs). It may draw from torch's global generator, which
        is seeded by the run's for that time and put back.

    Examples
    --------
    >>> import bioplaus as bp
    >>> from torch import nn
    >>> g = bp.predictor("module", module=lambda m, n: nn.Sequential(nn.Linear(m, 64), nn.Tanh(), nn.Linear(64, n)))
    >>> bp.rule("dni", predictor=g).signal.predictor is g
    True
    """

    module: Callable[[int, int], torch.nn.Module] | None = None
    _made: dict[tuple[int, int], torch.nn.Module] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not callable(self.module) or isinstance(self.module, torch.nn.Module):
            wanted = "a function (inputs, outputs) that makes a torch.nn.Module, such as torch.nn.Linear"
            raise checks.refusal(RuleError, "module of a module predictor", self.module, wanted)

    def init(self, seen: Seen, generator: torch.Generator) -> Own:
        seed = int(torch.randint(2**62, (), generator=generator))
        made = self._make(seen.inputs, seen.outputs, seed)
        self._refuse(made, seen)
        like = {"dtype": seen.dtype, "device": seen.device}
        learned = {n: p.detach().clone().to(**like) for n, p in made.named_parameters() if p.requires_grad}
        fixed = {n: p.detach().clone().to(**like) for n, p in made.named_parameters() if not p.requires_grad}
        for name, buffer in made.named_buffers():
            kind = like if buffer.is_floating_point() else {"device": seen.device}
            fixed[name] = buffer.detach().clone().to(**kind)
        return Own(learned, fixed | {_SIZES: torch.zeros(seen.inputs, seen.outputs, 0)})

    def says(self, tensors: Mapping[str, Tensor], h: Tensor) -> Tensor:
        inputs, outputs, _ = tensors[_SIZES].shape
        if (inputs, outputs) not in self._made:
            self._made[inputs, outputs] = self._make(inputs, outputs, 0)
        own = {name: value for name, value in tensors.items() if name != _SIZES}
        return torch.func.functional_call(self._made[inputs, outputs], own, (h,))

    def _make(self, inputs: int, outputs: int, seed: int) -> torch.nn.Module:
        assert self.module is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                made = self.module(inputs, outputs)
            except Exception as error:
                told = str(error).splitlines()[0].rstrip(".") if str(error) else "nothing more"
                raise RuleError(
                    f"module of a module predictor could not be made: as a function of (inputs, outputs), here ({inputs}, {outputs}), it raised {type(error).__name__}: {told}."
                ) from error
        if not isinstance(made, torch.nn.Module):
            raise RuleError(
                f"module of a module predictor made a {type(made).__name__} of ({inputs}, {outputs}), and is to make a torch.nn.Module."
            )
        return made.eval()

    def _refuse(self, made: torch.nn.Module, seen: Seen) -> None:
        """Refuse a module that maps to another shape, or answers a state otherwise when others stand beside it."""
        like = next(made.parameters(), torch.zeros((), dtype=seen.dtype))
        h = torch.linspace(-1, 1, 6 * seen.inputs, dtype=like.dtype, device=like.device).sin().view(2, 3, seen.inputs)
        try:
            with torch.no_grad():
                said = made(h)
                shape = tuple(said.shape)
                apart = [made(each[None]) for each in h.flatten(0, 1)]
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise RuleError(
                f"module of a module predictor was made for {seen.inputs} inputs and {seen.outputs} outputs, and cannot take {(2, 3, seen.inputs)} numbers, states of "
                f"three trials at two steps: {str(error).splitlines()[0].rstrip('.')}."
            ) from error
        if shape != (2, 3, seen.outputs):
            raise RuleError(
                f"module of a module predictor maps {(2, 3, seen.inputs)} to {shape}, and is to map it to {(2, 3, seen.outputs)}: it is given (inputs, outputs) to make it so."
            )
        if not torch.allclose(said.flatten(0, 1), torch.cat(apart), rtol=1e-3, atol=1e-5, equal_nan=True):
            raise RuleError(
                "module of a module predictor answers a state otherwise when other trials or steps stand beside it, and is to map each by itself, along the last "
                "dimension alone: no normalisation, softmax or recurrence over another one."
            )

    def describe(self) -> dict[str, Any]:
        made = self.module
        name = getattr(made, "__qualname__", type(made).__qualname__)
        return {"predictor": "module", "module": f"{getattr(made, '__module__', '')}.{name}"}
