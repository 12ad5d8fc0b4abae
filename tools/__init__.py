"""Programs that made what the project bundles; nothing that is installed imports them."""
