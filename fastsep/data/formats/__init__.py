"""File formats: read with every damage told in one line, written whole."""
