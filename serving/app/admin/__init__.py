"""The administrators' API: traffic, costs, incidents, releases, channels."""
