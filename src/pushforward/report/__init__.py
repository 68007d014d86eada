"""What people look at: pictures, pages from templates, and the report of a fitted table."""
