//! isolator-tests
