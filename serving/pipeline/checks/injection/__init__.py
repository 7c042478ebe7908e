"""Orders to the model in texts that it reads: found by patterns and by a small fitted model."""

from serving.pipeline.checks.injection.patterns import SENTENCE_LIMIT, TEXT_LIMIT, find_injections, patterns_digest

__all__ = ["SENTENCE_LIMIT", "TEXT_LIMIT", "find_injections", "patterns_digest"]
