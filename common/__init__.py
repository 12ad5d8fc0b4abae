"""What every stage shares: errors, whole-or-nothing files, retrieval data, prompts."""
