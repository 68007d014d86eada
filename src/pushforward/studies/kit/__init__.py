"""What every study is made of: the record, comparisons of models, tables, pictures and worker processes."""
