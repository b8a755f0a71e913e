"""Shipped helpers for tests: scripted streams, clients, oracles."""
