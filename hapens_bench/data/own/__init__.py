"""Your own data: files of common formats, and frames from Python, to logs and splits."""
