"""What operators ask a running server, and tell it."""
