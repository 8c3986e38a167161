"""A real stream that travels with the package, so that the whole loop can be seen with nothing but Python."""
