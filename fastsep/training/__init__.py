"""Driving the model: what a training needs, its step, its log and the loop."""
