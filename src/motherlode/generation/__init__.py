"""Sampling from a trained run, streaming, and export. Floor 5."""
