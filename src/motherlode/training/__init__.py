"""The one training loop, and what makes it fast, resumable and measured. Floor 4."""
