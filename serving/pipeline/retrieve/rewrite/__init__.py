"""Follow-ups become questions that stand alone, before anything is looked for."""
