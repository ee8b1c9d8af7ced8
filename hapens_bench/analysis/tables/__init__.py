"""Tables: a paper's beside ours, or your own rows and columns."""
