"""What the library costs: `uv run --group bench python -m benchmarks`; what it survives: `faults.py`."""
