"""Wire protocols as pure objects: bytes and events in, bytes and events out."""
