"""The content-addressed object store: packs of checked records, each with its own index."""
