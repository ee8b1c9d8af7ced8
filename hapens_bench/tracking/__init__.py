"""Trackers that mirror a run: W&B, Trackio and the console."""
