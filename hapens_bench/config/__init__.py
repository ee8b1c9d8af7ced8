"""What a config says: where it lives, how it is composed, what identifies it, and how keys are declared."""
