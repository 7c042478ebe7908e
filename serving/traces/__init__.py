"""Stored traces and feedback: written by the server, read by dashboards, audits and verdicts."""
