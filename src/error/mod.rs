//! What can go wrong, typed: one file per stage at which it is noticed.
