"""What a run leaves behind: its folder, and the trackers that mirror it."""
