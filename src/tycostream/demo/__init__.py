"""The demo: a small market of invented trades in a real PostgreSQL, and a page that shows it live.

``market``  the tables, the pure rules of the market, and a simulator that writes real transactions.
``pages``   what ``/demo`` serves, and example queries for GraphiQL.
``demo.yaml``  the configuration that exposes the three tables; it is an ordinary one.
"""

from __future__ import annotations

from pathlib import Path

CONFIG_PATH = Path(__file__).with_name("demo.yaml")
"""The demo's configuration file, inside the package."""
