"""Harm done on purpose: kills, signals, failing disks, changed files. What is promised of runs holds through all of it."""
