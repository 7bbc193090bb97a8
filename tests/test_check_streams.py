"""What `bioplaus check` finds in streams of signs and along long sequences: biases of one place, sample, batch, neuron or step."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from influence_helpers import rewritten
from torch import Tensor

import bioplaus as bp
from bioplaus import check
from bioplaus.check import fairness, steps
from bioplaus.check.bench import Bench, bench, living
from bioplaus.eligibility import KFRTRL, RKFRTRL, UORO
from bioplaus.eligibility.recursion import Moving

Patch = pytest.MonkeyPatch


def as_two_before(patch: Patch) -> None:
    """A sign is the one two draws before, in half of all cases; else its own."""
    real, past = Moving.signs, {}

    def drawn(self: Moving, *shape: int) -> Tensor:
        kept, new = past.setdefault((id(self), shape), []), real(self, *shape)
        if len(kept) == 2:
            again = torch.rand(shape, generator=self.generator) < 0.5
            new = torch.where(again, kept.pop(0), new)
        kept.append(new)
        return new

    patch.setattr(Moving, "signs", drawn)


def turned(where: Callable[[Tensor], Any]) -> Callable[[Patch], None]:
    """+1 at some of (sample, place)."""

    def make(patch: Patch) -> None:
        def drawn(self: Moving, *shape: int, real: Any = Moving.signs) -> Tensor:
            found = real(self, *shape).clone()
            where(found).fill_(1.0)
            return found

        patch.setattr(Moving, "signs", drawn)

    return make


def at_first(patch: Patch) -> None:
    """The first draw of a sequence is +1."""
    real = Moving.signs

    def drawn(self: Moving, *shape: int) -> Tensor:
        new = real(self, *shape)
        if getattr(self, "begun", None) is None:
            self.begun = True  # type: ignore[attr-defined]
            return torch.ones_like(new)
        return new

    patch.setattr(Moving, "signs", drawn)


def from_a_pool(size: int) -> Callable[[Patch], None]:
    """So many draws, used again for ever."""

    def make(patch: Patch) -> None:
        real, pools = Moving.signs, {}

        def drawn(self: Moving, *shape: int) -> Tensor:
            pool = pools.setdefault((id(self), shape), [])
            pool.append(pool.pop(0) if len(pool) == size else real(self, *shape))
            return pool[-1]

        patch.setattr(Moving, "signs", drawn)

    return make


STREAMS: dict[str, Callable[[Patch], None]] = {
    "as two draws before": as_two_before, "small batches": turned(lambda x: x if len(x) < 512 else x[:0]),
    "large batches": turned(lambda x: x if len(x) >= 512 else x[:0]), "a batch of one": turned(lambda x: x if len(x) == 1 else x[:0]),
    "places beyond the fourth": turned(lambda x: x[:, 4:] if x.dim() == 2 else x[4:]), "the last place": turned(lambda x: x[..., -1]),
    "the first sample": turned(lambda x: x[0]), "the last sample": turned(lambda x: x[-1]), "the first draw": at_first,
    "a pool of 32": from_a_pool(32), "a pool of 200": from_a_pool(200),
}  # fmt: skip


@cache
def full(model: str) -> Bench:
    return living(lambda seed: bench(bp.model(model), 20, 1, None, True, seed), 0)


#: on both models those in a place or sample of which a small test knows nothing; on one what varies them
MANY = (
    "as two draws before",
    "small batches",
    "places beyond the fourth",
    "the first sample",
    "the first draw",
    "a pool of 32",
)


@pytest.mark.parametrize(
    ("name", "model"), [(name, model) for name in STREAMS for model in ("gru", "lif") if model == "lif" or name in MANY]
)
def test_a_biased_stream_is_found(name, model, monkeypatch):
    """Of every rule, in the circuit of the check."""
    STREAMS[name](monkeypatch)
    for label in ("uoro", "kf_rtrl", "r_kf_rtrl"):
        assert fairness.unfairness(full(model), bp.rule(label)) > 2, label


@pytest.mark.parametrize(
    ("name", "label"), (("as two draws before", "kf_rtrl"), ("large batches", "r_kf_rtrl"), ("the last place", "uoro"))
)
def test_a_biased_stream_fails_the_check(name, label, monkeypatch):
    STREAMS[name](monkeypatch)
    (row,) = check.check(quick=True, rules=(label,), models=("lif",))
    assert not row.ok and row.measured == "biased", row


def part_of_the_neurons(patch: Patch) -> None:
    """νᵀM a tenth too small, from the third neuron on."""
    rewritten(patch, UORO, "advance", ("gammas.append(gamma)", "gamma[:, 2:] *= 0.9; gammas.append(gamma)"))


def part_of_the_rows(patch: Patch) -> None:
    """The last neuron alone learns a tenth too much."""
    rewritten(patch, KFRTRL, "advance", ("(s / p2)[:, None] * g", "(s / p2)[:, None] * g * (1 + 0.1 * (torch.arange(n) == n - 1))"))  # fmt: skip


def last_channel(patch: Patch) -> None:
    rewritten(patch, RKFRTRL, "advance", ("tilde = space.zeros(batch, space.size)", "tilde = space.zeros(batch, space.size); nu = nu * (1 + 0.5 * (torch.arange(n * channels) == n * channels - 1))"))  # fmt: skip


def forgetful(kind: type, step: int) -> Callable[[Patch], None]:
    """Everything that is carried is lost at one step."""

    def make(patch: Patch) -> None:
        real = kind.advance  # type: ignore[attr-defined]

        def advance(self: Any, state: Any, now: Any) -> None:
            state.made = getattr(state, "made", 0) + 1
            if state.made == step:
                for name in ("A", "B", "b", "F"):
                    value = getattr(state, name, None)
                    for x in value if isinstance(value, list) else [value]:
                        if x is not None:
                            x.zero_()
            real(self, state, now)

        patch.setattr(kind, "advance", advance)

    return make


LONG: dict[str, tuple[str, Callable[[Patch], None]]] = {
    "uoro, from the third neuron on": ("uoro", part_of_the_neurons), "kf_rtrl, the last neuron": ("kf_rtrl", part_of_the_rows),
    "r_kf_rtrl, the last of all channels": ("r_kf_rtrl", last_channel), "uoro, step 13": ("uoro", forgetful(UORO, 13)),
    "kf_rtrl, step 20": ("kf_rtrl", forgetful(KFRTRL, 20)), "r_kf_rtrl, step 15": ("r_kf_rtrl", forgetful(RKFRTRL, 15)),
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("model", ("gru", "lif"))
def test_a_bias_of_many_neurons_or_steps_is_found(name, model, monkeypatch):
    label, make = LONG[name]
    assert steps.mismatch(full(model), bp.rule(label)) < 1e-11
    make(monkeypatch)
    assert steps.mismatch(full(model), bp.rule(label)) > 1e-4


@pytest.mark.parametrize(("name", "model"), (("uoro, from the third neuron on", "gru"), ("uoro, step 13", "lif")))
def test_a_bias_of_many_neurons_or_steps_fails_the_check(name, model, monkeypatch):
    label, make = LONG[name]
    make(monkeypatch)
    (row,) = check.check(quick=True, rules=(label,), models=(model,))
    assert not row.ok and row.measured == "biased", row


def test_forgetting_late_is_found_along_a_long_trajectory(monkeypatch):
    forgetful(UORO, 97)(monkeypatch)
    (row,) = check.check(rules=("uoro",), models=("lif",))
    assert not row.ok, row
