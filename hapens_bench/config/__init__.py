"""Configs: where they are, how they are composed, what identifies one, how keys are declared."""
