"""Traces over HTTP: kept beside the answers, read by those who may."""
