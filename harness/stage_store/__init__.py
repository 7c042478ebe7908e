"""The stage store: outputs of stages, so that nothing is computed twice."""
