"""WebSocket and HTTP: shells around the pure protocols of ``wire``."""
