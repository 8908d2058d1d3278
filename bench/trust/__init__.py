"""Harm done on purpose: kills, signals, failing disks. What is promised of runs holds through all of it."""
