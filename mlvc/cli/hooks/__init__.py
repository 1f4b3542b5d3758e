"""What each hook of git does; one module for what loads the same verbs, because git waits for each of them."""
