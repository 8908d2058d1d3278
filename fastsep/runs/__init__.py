"""Run directories: what training leaves on the disk and every other command reads."""
