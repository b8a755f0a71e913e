"""The GraphQL face: schema, plans and encoders; pure."""
