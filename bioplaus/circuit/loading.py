"""Weights that are given: they fit the network, or are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.circuit.synapses import Synapses
from bioplaus.errors import CircuitError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit.network import Network


def fitting(network: Network, weights: Any) -> dict[str, Tensor]:
    """Weights by name as a network holds them.

    Raises
    ------
    CircuitError
        For an unknown name, a shape that does not fit, a value that is not finite, of the wrong sign, or where there is no synapse.
    """
    if not isinstance(weights, Mapping):
        raise checks.refusal(CircuitError, "weights", weights, "a mapping of names to arrays, such as {'W_in': W}")
    ready = {}
    for name, value in weights.items():
        if name not in network.weights:
            raise CircuitError(unknown("weight of this network", str(name), network.weights))
        try:
            given = torch.as_tensor(value)
            if given.is_complex():
                raise TypeError("complex")
            tensor = given.to(device=network.device, dtype=network.dtype)
        except (TypeError, ValueError, RuntimeError) as error:
            raise checks.refusal(
                CircuitError, f"Weight {name}", value, "an array of real numbers, [post, pre]"
            ) from error
        if name in network.synapses and tensor.dim() == 2:
            tensor = _taken(network, name, tensor)
        if tensor.shape != network.weights[name].shape:
            raise CircuitError(
                f"Weight {name} has shape {tuple(tensor.shape)}, expected {tuple(network.weights[name].shape)} ([post, pre])."
            )
        if not bool(torch.isfinite(tensor).all()):
            raise CircuitError(f"Weight {name} contains values that are not finite.")
        ready[name] = tensor
    refuse_stray(network, ready)
    return ready


def apart(
    network: Network, masks: Mapping[str, Tensor], saved: Mapping[str, Any]
) -> tuple[dict[str, Synapses], dict[str, Tensor]]:
    """Where the synapses of sparse projections are in a checkpoint, and its other masks.

    One of before sparse projections holds matrices and masks for them; `Synapses.at` of what comes back makes values of such matrices.
    """
    found, rest = {}, dict(masks)
    for name, mine in network.synapses.items():
        if name in saved:
            found[name] = Synapses.saved(**saved[name])
        elif name in rest:
            post, pre = rest.pop(name).view(-1, *mine.shape)[0].nonzero().unbind(1)
            found[name] = Synapses.of(post, pre, mine.shape)
        if name in found and found[name].ends != mine.ends:
            raise CircuitError(
                f"The checkpoint's synapses of {name} are of {found[name].ends} neurons (post, pre), here are {mine.ends}."
            )
        if name in found and found[name].delays != (mine.delays if len(mine.delays) > 1 else ()):
            raise CircuitError(
                f"The checkpoint's synapses of {name} have other delays: {_steps(found[name])} there, {_steps(mine)} here. Delays that are drawn go with the seed."
            )
    return found, rest


def _steps(synapses: Synapses) -> str:
    delays = synapses.delays
    return f"{len(delays)} different, {min(delays)} to {max(delays)} steps" if len(delays) > 1 else "one for all"


def values(synapses: Mapping[str, Synapses], name: str, value: Tensor) -> Tensor:
    """A weight, or what is shaped like it, as it is kept now: a matrix of a sparse projection becomes its synapses' values."""
    return synapses[name].at(value) if name in synapses and value.dim() == 2 else value


def _taken(network: Network, name: str, W: Tensor) -> Tensor:
    """Of a matrix [post, pre], the values of a sparse projection; the matrix itself where its shape does not fit."""
    there, synapses = network.there(name), network.synapses[name]
    assert there is not None
    if W.shape != there.shape:
        return W
    where = (
        f"Give 0 there: network.synapses['{name}'] says where there is one. Another seed has its synapses elsewhere."
    )
    _refuse(name, W, (there == 0) & (W != 0), "where the circuit has no synapse", where)
    return synapses.at(W)


def refuse_stray(network: Network, weights: Mapping[str, Tensor]) -> None:
    """Refuse weights of the wrong sign (Dale's law), and weights where there is no synapse.

    Raises
    ------
    CircuitError
        Naming weight and place.
    """
    for w in network.wired:
        name, sign = w.spec.name, w.spec.sign
        W, mask = weights.get(name), network.masks.get(name)
        if W is None:
            continue
        if sign:
            how = f"of the wrong sign: the projection has sign={sign:+d} (Dale's law)"
            side = "positive" if sign > 0 else "negative"
            _refuse(
                name,
                W,
                W * sign < 0,
                how,
                f"Give 0 and {side} numbers only; a circuit of your own may leave its projection sign=None.",
            )
        if mask is not None:
            how = "where the circuit has no synapse (fan_in, autapses)"
            where = f"Give 0 there: network.masks['{name}'] is 1 where there is one. Another seed has its synapses elsewhere."
            _refuse(name, W, (mask == 0) & (W != 0), how, where)
    if "W_out" in weights and "W_out" in network.masks:
        W, how = weights["W_out"], "where the readout (apart=True) does not look: each output sees one population"
        _refuse("W_out", W, (network.masks["W_out"] == 0) & (W != 0), how, "Give 0 there.")


def _refuse(name: str, W: Tensor, wrong: Tensor, how: str, remedy: str) -> None:
    if not bool(wrong.any()):
        return
    places = wrong.nonzero()
    where = tuple(places[0].tolist())  # [post, pre], or of a sparse projection the synapse
    first = f"{float(W[where]):.4g} at {list(where)}"
    raise CircuitError(f"Weight {name} has {len(places)} of {W.numel()} entries {how}, the first {first}. {remedy}")
