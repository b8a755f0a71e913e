"""The configuration: its shape, its loader, its rules."""
