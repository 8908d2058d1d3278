"""Measurements of fastsep beside a naive reference, and the report made from them."""
