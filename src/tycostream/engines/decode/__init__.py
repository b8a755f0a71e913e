"""Decoders of what databases send, without any I/O."""
