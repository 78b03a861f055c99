//! The vocabulary of steps, expectations and trees, and its two spellings.
