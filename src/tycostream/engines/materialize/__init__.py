"""Materialize, by SUBSCRIBE."""

from tycostream.engines.materialize.engine import MaterializeEngine

__all__ = ["MaterializeEngine"]
