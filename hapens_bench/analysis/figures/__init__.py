"""Figures: what they show, the frames behind them, and how they are drawn."""
