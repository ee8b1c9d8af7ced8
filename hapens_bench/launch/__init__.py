"""From configs to finished runs."""
