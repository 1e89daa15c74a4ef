"""n-dimensional networks: one implementation for signals, images and volumes. Floor 2."""
