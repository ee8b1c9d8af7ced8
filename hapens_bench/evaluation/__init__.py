"""Full ranking, candidate ranking and their metrics."""
