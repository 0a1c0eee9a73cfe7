"""What `import artfs` offers to scripts: artifacts, runs and sweeps, by the names and shapes of the W&B library."""
