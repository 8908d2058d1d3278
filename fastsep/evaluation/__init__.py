"""Scores and pictures of a run."""

from __future__ import annotations

from fastsep.evaluation.run import evaluate_run

__all__ = ["evaluate_run"]
