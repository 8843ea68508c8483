"""One file a rule; each docstring is the documentation and the test (`lamina.advisor.rule`)."""
