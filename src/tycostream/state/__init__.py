"""What the server itself must remember: a few small tables, in a file or in a PostgreSQL that several servers share."""
