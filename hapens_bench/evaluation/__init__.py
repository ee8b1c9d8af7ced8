"""Ranking metrics and full ranking."""
