"""A report as a page, as Markdown, for the terminal and as JUnit."""
