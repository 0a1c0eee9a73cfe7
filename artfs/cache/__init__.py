"""The cache on local disk: objects that were fetched from a registry, bounded in size, verified whenever they are read."""
