"""Stand-ins for services, spoken to over their real protocols."""
