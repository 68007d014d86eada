"""Studies on scikit-learn's digits of 8 x 8 pixels."""
