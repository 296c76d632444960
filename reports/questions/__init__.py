"""The kinds of questions that a report asks: each yields questions for `contrasts.testing` to answer."""
