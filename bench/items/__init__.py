"""What is measured, an item a file. Each has ``measure(plan, say) -> rows`` and says in its docstring what for."""
