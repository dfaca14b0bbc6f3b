"""The tasks: `<name>.yaml` describes one, a module here loads it."""
