"""Scaling laws with honest intervals, and plans made from them. Floor 6."""
