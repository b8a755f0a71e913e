"""Hasura's metadata, read and written. Every concept has one file, which knows both directions."""
