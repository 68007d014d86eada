"""Studies of tables as people have them."""
