"""Tables longer than memory: cut into pieces, a sample of them to begin with, their rows read again and again."""
