"""Search for the best settings: trials are proposed in batches, trained together, and told back."""
