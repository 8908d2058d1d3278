"""Chairs that rotate, and what packs their views."""
