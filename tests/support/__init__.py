"""Small worlds and values that many tests stand on."""
