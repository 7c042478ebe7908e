"""The stage store: what was computed once is not computed again."""
