"""Gates: what must hold before a change may go in or a release out.

A gate is a file of rules (`gate`, `rules`); `hold` evaluates a configuration and decides by them (`decide`, `leaks`),
and the decision is a value (`decision`) that is written as JSON, JUnit XML and Markdown (`junit`, `summary`).
"""
