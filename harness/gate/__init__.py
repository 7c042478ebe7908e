"""Gates: what must hold before a change may go in or a release out."""
