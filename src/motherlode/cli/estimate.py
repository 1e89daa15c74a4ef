"""`lode estimate`."""

EXAMPLES = "x"


def command() -> None:
    """estimate."""
