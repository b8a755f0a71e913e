"""Backoff and its kin; pure, time and chance passed in."""
