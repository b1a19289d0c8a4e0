//! Consumer groups: who is in, and who reads what.
//!
//! | module | what it decides |
//! |---|---|
//! | `assign` | which member of a group gets which partitions |

pub mod assign;
