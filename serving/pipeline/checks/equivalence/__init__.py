"""Whether a question may take another question's answer: guards that say no in words, and a verifier that gives a probability."""
