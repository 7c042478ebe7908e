"""The room that turns passages into an answer."""
