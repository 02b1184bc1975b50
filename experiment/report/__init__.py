"""Report of finished runs: question, results, uncertainty. One HTML page that opens offline, and Markdown."""
