"""What the tests of tasks share."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from bioplaus.tasks import Batch


def stream(seed: int = 0) -> torch.Generator:
    """A random stream of one's own."""
    return torch.Generator().manual_seed(seed)


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches are equal bit by bit, and the same is known of their trials."""
    names = [field.name for field in fields(Batch) if field.name != "trials"]
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    known = one.trials.keys() == other.trials.keys() and all(
        np.array_equal(one.trials[n], other.trials[n]) for n in one.trials
    )
    return known and all(a is b is None or torch.equal(a, b) for a, b in pairs)


def paragraph(error: pytest.ExceptionInfo[Any]) -> str:
    """The message of an error, which must be one paragraph of prose."""
    text = str(error.value)
    assert "\n" not in text and text.endswith((".", "?")) and len(text) > 60, text
    return text


def after_study(err: str) -> str:
    """What a command says on standard error, behind the line that names the study."""
    first, end, rest = err.partition("\n")
    return rest if end and first.startswith("study: ") else err
