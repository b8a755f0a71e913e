"""RisingWave, by subscription cursors."""

from tycostream.engines.risingwave.engine import RisingWaveEngine

__all__ = ["RisingWaveEngine"]
