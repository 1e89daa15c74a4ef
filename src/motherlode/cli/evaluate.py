"""`lode evaluate`."""

EXAMPLES = "x"


def command() -> None:
    """evaluate."""
