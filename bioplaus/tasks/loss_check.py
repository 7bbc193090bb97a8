"""A loss of one's own, held against its own words: its error is the derivative of its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.tasks.losses import Loss

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("real", "binary", "distribution", "index")
STEP = 1e-6  # of finite differences in float64
CLOSE = 1e-4  # of the largest derivative  # chosen: far above rounding, also that of losses that go through float32


def check_loss(loss: Loss, outputs: int) -> None:
    """Refuse a loss whose value has no number for each step and sample, or whose error is not its derivative.

    Both are tried at random outputs and targets; the derivative is autograd's, or that of finite differences where the value is
    computed out of autograd's sight.

    Parameters
    ----------
    outputs : how many there are.

    Raises
    ------
    TaskError
        Naming loss, method and what came.
    """
    outputs = checks.whole(TaskError, "outputs", outputs)
    checks.accept(TaskError, "The loss", loss, checks.Instance(Loss, "bp.tasks.squared"))
    name = f"The loss {type(loss).__name__}"
    checks.accept(TaskError, f"kind of {name[4:]}", loss.kind, checks.Word(KINDS))
    generator = torch.Generator().manual_seed(0)
    o = torch.randn(3, 2, outputs, generator=generator, dtype=torch.float64)
    y = _targets(loss, o, generator)
    value = _answer(f"{name}'s value", loss.value, o, y, o.shape[:-1])
    one = _answer(f"{name}'s value", loss.value, o[0], y[0], o.shape[1:-1])
    for what, found in (("value", value), ("error", error := _answer(f"{name}'s error", loss.error, o, y, o.shape))):
        if not bool(torch.isfinite(found).all()):
            t, b = (int(i) for i in (~torch.isfinite(found)).nonzero()[0][:2])
            raise TaskError(
                f"{name}'s {what} is {_few(found[t, b])} at outputs {_few(o[t, b])} and targets {_few(y[t, b])}: what a circuit says may be any number, and the "
                f"loss is to be finite there. Bound the outputs inside {what}(outputs, targets), as with exp, softplus or clamp."
            )
    if not torch.allclose(value[0], one, rtol=CLOSE, atol=CLOSE):
        raise TaskError(
            f"{name} gives step 0 another value beside others than alone ({_few(value[0])}, {_few(one)}): sums run over the outputs, "
            "dimension -1, and over nothing else."
        )
    true = _derivative(loss, o, y)
    off = (error - true).abs()
    if float(off.max()) > CLOSE * max(1.0, float(true.abs().max())):
        t, b, k = (int(i) for i in (off == off.max()).nonzero()[0])
        raise TaskError(
            f"{name}'s error is not the derivative of its value: at outputs {_few(o[t, b])} and targets {_few(y[t, b])} it is {float(error[t, b, k]):.6g} "
            f"for output {k}, and the value's derivative is {float(true[t, b, k]):.6g}. Mend error(outputs, targets), or leave it out: autograd then finds it."
        )


def _targets(loss: Loss, o: Tensor, generator: torch.Generator) -> Tensor:
    """Random targets of a loss's kind."""
    if loss.kind == "index":
        return torch.randint(o.shape[-1], o.shape[:-1], generator=generator)
    drawn = torch.randn(o.shape, generator=generator, dtype=o.dtype)
    if loss.kind == "binary":
        return torch.sigmoid(drawn)
    return torch.softmax(drawn, -1) if loss.kind == "distribution" else drawn


def _answer(what: str, method: Any, o: Tensor, y: Tensor, shape: torch.Size) -> Tensor:
    """What a loss's method gives, in float64, if it has the form that it should have."""
    try:
        found = method(o.clone(), y.clone())
    except TaskError:
        raise
    except Exception as error:
        raise TaskError(
            f"{what}(outputs, targets) ended in {type(error).__name__} ({checks.short(str(error))}) for outputs of shape {tuple(o.shape)} and "
            f"targets of shape {tuple(y.shape)}. It is to give shape {tuple(shape)}."
        ) from error
    form = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
    if form != tuple(shape):
        raise TaskError(
            f"{what}(outputs, targets) gave {form} for outputs of shape {tuple(o.shape)}; it is to give a tensor of shape {tuple(shape)}: "
            f"{'one number' if len(shape) < o.dim() else 'a derivative'} for each step and sample{'' if len(shape) < o.dim() else ' and output'}."
        )
    return found.detach().double()


def _derivative(loss: Loss, o: Tensor, y: Tensor) -> Tensor:
    """∂value/∂o."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = o.clone().requires_grad_()
        value = loss.value(leaf, y.clone())
        if value.requires_grad:
            return torch.autograd.grad(value.sum(), leaf)[0].double()
    found = torch.empty_like(o)
    for k in range(o.shape[-1]):
        step = torch.zeros_like(o)
        step[..., k] = STEP
        found[..., k] = (loss.value(o + step, y).detach().double() - loss.value(o - step, y).detach().double()) / (
            2 * STEP
        )
    return found


def _few(values: Tensor) -> str:
    """Some numbers, so that they fit into a sentence."""
    shown = ", ".join(f"{v:.4g}" for v in values.flatten()[:4].tolist())
    return f"({shown}, …)" if values.numel() > 4 else f"({shown})"
