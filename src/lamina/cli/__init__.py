"""The command line: arguments to values, values to `lamina.control`, outcome to exit code."""
