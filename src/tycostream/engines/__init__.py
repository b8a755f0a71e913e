"""One driver per database product, all behind ``base``."""
