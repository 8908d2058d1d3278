"""Harm done on purpose: kills, signals, failing disks, changed files. What is promised holds through all of it."""
