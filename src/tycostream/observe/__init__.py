"""What happened: typed events, and one thin sink per file."""
