"""Methods x compressions x seeds under one budget: which method is best at mine."""
