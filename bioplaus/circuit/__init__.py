"""Circuits: populations joined by projections; one step of the whole, and its transpose."""

from bioplaus.circuit.circuit import Circuit
from bioplaus.circuit.description import CELL, Poisson, Population, Projection, Readout
from bioplaus.circuit.network import Network

__all__ = ["CELL", "Circuit", "Network", "Poisson", "Population", "Projection", "Readout"]
