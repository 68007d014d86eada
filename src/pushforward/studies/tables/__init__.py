"""The study of mixed tables: how well whole rows are modelled."""
