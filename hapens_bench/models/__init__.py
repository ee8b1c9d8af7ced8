"""Recommenders, T copies side by side."""
