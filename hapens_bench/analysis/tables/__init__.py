"""Tables: a paper's beside ours, or rows and columns of one's own."""
