"""Against the databases' own images. They need a Docker engine, and are skipped with the reason where none answers."""
