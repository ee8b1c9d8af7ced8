"""The search for the best settings: trials are proposed and trained in batches."""
