"""PostgreSQL 13 and later, by logical replication."""

from tycostream.engines.postgres.engine import PostgresEngine

__all__ = ["PostgresEngine"]
