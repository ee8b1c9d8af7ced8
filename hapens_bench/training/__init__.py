"""The packed training loop and what it measures on the way."""
