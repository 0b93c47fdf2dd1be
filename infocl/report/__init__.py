"""The report: one page that says what was learned, what it cost and what to ship."""
