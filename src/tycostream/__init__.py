"""tycostream: a real-time, Hasura-compatible GraphQL API over streaming SQL databases."""

from importlib.metadata import version

__version__ = version("tycostream")
