"""Gates: the rules that a change or a release must pass.

A gate is a file of rules (`gate`, `rules`); `run_gate` evaluates a configuration and decides by them (`decide`, `ruling`, `leaks`),
and the decision is a value (`decision`) that is written as JSON, JUnit XML and Markdown (`junit`, `summary`).
"""
