"""What the tests of tasks share."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch

from bioplaus.tasks import Batch


def stream(seed: int = 0) -> torch.Generator:
    """A random stream of one's own."""
    return torch.Generator().manual_seed(seed)


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches are equal bit by bit."""
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(Batch)]
    return all(a is b is None or torch.equal(a, b) for a, b in pairs)


def paragraph(error: pytest.ExceptionInfo[Any]) -> str:
    """The message of an error, which must be one paragraph of prose."""
    text = str(error.value)
    assert "\n" not in text and text.endswith((".", "?")) and len(text) > 60, text
    return text


def after_study(err: str) -> str:
    """What a command says on standard error, behind the line that names the study."""
    first, end, rest = err.partition("\n")
    return rest if end and first.startswith("study: ") else err
