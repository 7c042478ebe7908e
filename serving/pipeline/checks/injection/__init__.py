"""Orders to the model in texts that it reads: found by patterns and by a small fitted model."""
