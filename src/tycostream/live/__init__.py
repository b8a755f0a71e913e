"""Feeds, the hub, cohorts, subscribers and outboxes."""
