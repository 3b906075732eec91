"""How fast the program is, as ratios to references measured in the same run. See docs/performance.md."""
