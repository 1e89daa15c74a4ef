"""The version, below every floor, so that whatever writes a file can say what made it."""

__version__ = "0.1.0"
