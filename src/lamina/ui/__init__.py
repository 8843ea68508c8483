"""Values and events to what people see: plain text, a live terminal, JSON lines, tables, errors."""
