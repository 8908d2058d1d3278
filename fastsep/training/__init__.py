"""Driving the model: precision, the step, checkpoints, logs and the loop."""
