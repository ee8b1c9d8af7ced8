"""The packed training loop and its measurements."""
