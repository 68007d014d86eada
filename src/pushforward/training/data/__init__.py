"""What a run learns from: rows in memory, a loader, or nothing; checked, split, and handed out in batches."""
