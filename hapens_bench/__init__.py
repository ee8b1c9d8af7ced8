"""hapens_bench: an honest, fast comparison of negative samplers for implicit collaborative filtering."""

__version__ = "0.1.0"
