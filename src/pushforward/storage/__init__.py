"""Files that are replaced whole, and one safe container of JSON and tensors for models and checkpoints alike."""
