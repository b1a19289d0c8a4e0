//! What can go wrong, typed: one file per stage at which it is noticed.

mod code;

pub use code::ErrorCode;
