"""The room that chooses thresholds from labelled examples, with a stated error."""
