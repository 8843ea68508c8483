"""The command line: arguments to values, values to `lamina.control`, what came of it to an exit code."""
