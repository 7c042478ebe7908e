"""Fits routers and domain classifiers: what is learned with scikit-learn is written down as plain numbers."""
