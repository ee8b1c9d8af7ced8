"""The one exception that means "the user asked for something impossible"."""


class UserError(Exception):
    """A mistake in the user's input, told in one sentence; the command line prints it and exits with 2."""
