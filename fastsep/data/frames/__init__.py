"""Your own frames: any field or video in any of the common formats."""
