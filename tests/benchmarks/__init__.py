"""Timings, run by `inpaint bench`; one module a benchmark, each with `measure() -> list[Figure]`."""
