"""Who is tried, who goes on, who is confirmed."""
