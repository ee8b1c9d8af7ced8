"""Losses over positives and their negatives."""
