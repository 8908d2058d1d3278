"""Sea surface temperature in zones of the North Atlantic, and what cuts them out of an ocean model."""
