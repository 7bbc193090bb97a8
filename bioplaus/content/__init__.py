"""Models, circuits and experiments by name, from the user's study first and from what shipped second.

A file ``models/alif.py`` defines a factory of its own name, ``def alif(...)``. It is loaded as the ordinary
module ``bioplaus.content.models.alif``, so pickling, spawned workers, `inspect` and coverage work on it.
"""

from __future__ import annotations

from bioplaus.content.fresh import loaded, recorded
from bioplaus.content.load import call, describe, factory, load, names
from bioplaus.content.new import Study, new
from bioplaus.content.path import KINDS, seen_from, shipped, study, study_of, trusted_study, withheld
from bioplaus.content.places import impersonal, not_plain, place, plain_name

__all__ = [
    "KINDS",
    "Study",
    "call",
    "circuit",
    "describe",
    "experiment",
    "factory",
    "impersonal",
    "load",
    "loaded",
    "model",
    "names",
    "not_plain",
    "new",
    "place",
    "plain_name",
    "recorded",
    "seen_from",
    "shipped",
    "study",
    "study_of",
    "trusted_study",
    "withheld",
]


def model(name: str, /, *given, **parameters):
    """Make a cell from the file ``models/<name>.py``.

    Parameters
    ----------
    name : str
        File name without ``.py``; ``bioplaus list`` shows all.
    **parameters
        Keyword arguments of the factory of that name, with units: ``tau_m=20*ms``.

    Returns
    -------
    Cell

    Raises
    ------
    ContentError
        If there is no such file, the file is broken, or a parameter is not one of its factory's.

    Examples
    --------
    >>> import bioplaus as bp
    >>> from bioplaus import ms
    >>> cell = bp.model("lif", tau_m=30*ms)
    """
    return call("model", name, *given, **parameters)


def circuit(name: str, /, *given, **parameters):
    """Compose a circuit from the file ``circuits/<name>.py``; otherwise as `model`.

    Returns
    -------
    Circuit

    Raises
    ------
    ContentError
        If there is no such file, the file is broken, or a parameter is not one of its factory's.

    Examples
    --------
    >>> import bioplaus as bp
    >>> circuit = bp.circuit("recurrent", cell=bp.model("lif"), inputs=40, units=100, outputs=2)
    """
    return call("circuit", name, *given, **parameters)


def experiment(name: str, /, *given, **parameters):
    """Set up an experiment from the file ``experiments/<name>.py``.

    Parameters
    ----------
    name : str
        File name without ``.py``.
    **parameters
        Either ``config=Config(...)``, the file's own configuration, or single fields of it.

    Returns
    -------
    Experiment

    Raises
    ------
    ContentError
        If there is no such file, the file is broken, or a name is not a field of its configuration.
    """
    return call("experiment", name, *given, **parameters)
