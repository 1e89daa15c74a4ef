"""Sources to a Dataset, and a Dataset to batches. Floor 2: knows modalities only through their protocol."""
