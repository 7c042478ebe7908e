"""Golden sets: a case, a set of them, and how they are read, checked, sealed, imported and extended."""
