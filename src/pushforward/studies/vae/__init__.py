"""The study of priors of a variational autoencoder."""
