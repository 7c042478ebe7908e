"""How well passages support a claim, without a model that was trained to say so."""
