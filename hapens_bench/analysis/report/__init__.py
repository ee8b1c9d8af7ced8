"""One HTML file that shows every run."""
