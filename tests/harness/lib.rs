//! The harness: a real broker in this process, over real TCP, on a real database, with a clock the test holds.
