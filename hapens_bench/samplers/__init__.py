"""Negative samplers and the pool they draw from."""
