"""What the `wandb` client expects of a server, translated to this registry: `artfs serve --wandb`. Has no rules of its own."""
