"""Gymnasium, or what to install. Light to import."""

from __future__ import annotations

from typing import Any

from bioplaus.errors import TaskError


def gym() -> Any:
    """Gymnasium, which not everybody has.

    Raises
    ------
    TaskError
        If it is not installed.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise TaskError(
            "Environments need the package gymnasium, which is not installed: pip install gymnasium, or pip install 'bioplaus[reward]'."
        ) from error
    return gymnasium
