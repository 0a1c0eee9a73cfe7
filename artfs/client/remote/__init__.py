"""A registry behind `artfs serve`, as a `wire.service.Registry`, and its packs as a source of ranges."""
