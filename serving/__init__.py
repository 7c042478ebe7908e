"""Everything that ships: the pipeline and the API in front of it."""
