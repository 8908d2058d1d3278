"""Scores and pictures of a run."""

from __future__ import annotations

from fastsep.evaluation.run import evaluate_run, is_scored

__all__ = ["evaluate_run", "is_scored"]
