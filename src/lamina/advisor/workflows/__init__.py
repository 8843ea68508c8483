"""Files that call builders: of continuous integration, compose and bake; read with their places."""
