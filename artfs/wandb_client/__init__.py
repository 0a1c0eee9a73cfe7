"""Reading a W&B server: its projects, artifacts and versions as a registry, its files as references. Writes nothing there."""
