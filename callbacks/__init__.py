"""Callbacks: each observes one thing and changes nothing about training."""

from callbacks.decision_boundary import DecisionBoundary
from callbacks.layer_table import LayerTable
from callbacks.memory import MemoryView
from callbacks.prediction_table import PredictionTable
from callbacks.run_record import RunRecord

__all__ = ["DecisionBoundary", "LayerTable", "MemoryView", "PredictionTable", "RunRecord"]
