"""`lode train`."""

EXAMPLES = "x"


def command() -> None:
    """train."""
