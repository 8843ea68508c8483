"""Package tools: how calls of them are recognised, where their caches are, what empties them."""
