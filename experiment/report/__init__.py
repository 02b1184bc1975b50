"""The report: what was asked, what came out, how sure one may be. One HTML page that opens offline, and Markdown."""
