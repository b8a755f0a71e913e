"""Synchronous, pure dataflow: predicates, stores, views, orders, routing and logs."""
