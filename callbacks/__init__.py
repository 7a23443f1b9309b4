"""Callbacks: each observes one thing and changes nothing about training."""

from callbacks.confusion_matrix import ConfusionMatrix
from callbacks.decision_boundary import DecisionBoundary
from callbacks.feature_maps import FirstLayer
from callbacks.gradient_flow import GradientFlow
from callbacks.layer_table import LayerTable
from callbacks.memory import MemoryView
from callbacks.mistakes import ConfidentMistakes
from callbacks.prediction_table import PredictionTable
from callbacks.run_record import RunRecord
from callbacks.train_evaluation import TrainEvaluation

__all__ = [
    "ConfidentMistakes",
    "ConfusionMatrix",
    "DecisionBoundary",
    "FirstLayer",
    "GradientFlow",
    "LayerTable",
    "MemoryView",
    "PredictionTable",
    "RunRecord",
    "TrainEvaluation",
]
