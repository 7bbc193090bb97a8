"""The predictor: a map from the cortex's carried state to the gradient of its future loss."""

from bioplaus.cerebellum.predictors import MLP, Linear, predictor

__all__ = ["MLP", "Linear", "predictor"]
