//! Starts the command line. Nothing else.

fn main() {}
