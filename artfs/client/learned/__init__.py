"""What is learned of how programs start from a registry far away, and fetched ahead the next time."""
