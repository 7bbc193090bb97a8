"""Named random streams from one seed: weights, feedback, predictor, task, noise. No global seeding anywhere."""

from __future__ import annotations

import zlib

import torch

from bioplaus import checks
from bioplaus.errors import RunError


def stream(seed: int, name: str) -> torch.Generator:
    """A CPU generator that depends on the seed and the stream's name only."""
    # as a plain number: a NumPy one would overflow below
    seed = checks.accept(RunError, "The seed of the random streams", seed, checks.SEED)
    name = checks.accept(RunError, "The name of a random stream", name, checks.Word())
    generator = torch.Generator(device="cpu")
    # splitmix-style mixing keeps streams of neighbouring seeds apart
    mixed = (seed * 0x9E3779B97F4A7C15 + zlib.crc32(name.encode()) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    generator.manual_seed((mixed ^ (mixed >> 31)) & 0x7FFFFFFFFFFFFFFF)
    return generator


def branch(generator: torch.Generator | None) -> torch.Generator:
    """A generator on the CPU for what one part draws in one sequence, seeded from ``generator`` (None: always the same).

    Its own, because other parts may draw from the same generator, more or less often before the next step according to the schedule: what is drawn
    must not depend on that.
    """
    parent = stream(0, "noise") if generator is None else generator
    seed = torch.randint(2**63 - 1, (), generator=parent, device=parent.device)
    return torch.Generator(device="cpu").manual_seed(int(seed))
