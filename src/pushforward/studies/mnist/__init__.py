"""Studies on MNIST, whole and reduced to 8 x 8 pixels."""
